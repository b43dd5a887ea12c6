"""gridtape run: the three kinds of process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from processors.processor import Processor
from streams import pipeline
from streams.engine import layout
from streams.engine.stores import MemoryStores, Stores
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options, Worker
from streams.settings import Settings, SettingsError
from streams.vocabulary import Words


def prepare(settings: Settings) -> list[str]:
    """Create the topics that are missing; return their names. Raises Fatal when one differs from the wiring."""
    specs = pipeline.layout(settings.partitions)
    return layout.ensure(settings.cluster(), specs, replication=settings.replication)


def processors(settings: Settings, names: Sequence[str], slot: int, stop: threading.Event) -> None:
    """Run the named processors (all when none is named), one worker each, until ``stop``.

    Raises SettingsError for a name that is not in the wiring and Fatal when a worker cannot go on.
    """
    known = {processor.name: processor for processor in pipeline.PROCESSORS}
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"no processor {', '.join(unknown)}; there are {', '.join(known)}")
    prepare(settings)
    cluster = settings.cluster()
    workers = [
        Worker(
            cluster,
            known[name],
            Words(),
            partitions=settings.partitions,
            slot=slot,
            options=Options(standbys=settings.standbys),
            stores=_stores(settings, known[name], slot),
        )
        for name in names or known
    ]
    run_workers(workers, stop)


def _stores(settings: Settings, processor: type[Processor], slot: int) -> Stores:
    if settings.state == "memory":
        return MemoryStores()
    try:
        from streams.engine.disk import DiskStores
    except ImportError as error:
        raise SettingsError(
            f"GRIDTAPE_STATE=disk needs the extra disk ({error}): pip install 'gridtape[disk]'"
        ) from error
    cluster = settings.cluster()
    return DiskStores(cluster, processor, settings.state_dir / cluster.named(f"{processor.name}-{slot}"))


def connectors(settings: Settings, file: Path | None, stop: threading.Event) -> None:
    """Run the connectors that the TOML file describes until ``stop``. Raises ConfigError with all errors at once."""
    from connectors.config import load
    from connectors.runner import run_connectors

    config = load(file or settings.connectors_file)
    prepare(settings)
    run_connectors(config, settings.cluster(), stop, settings.data_dir / "waiting")


def sinks(settings: Settings, names: Sequence[str], stop: threading.Event) -> None:
    """Run the named sinks (all that are configured when none is named) until ``stop``."""
    from sinks.runner import run_sinks
    from streams.commands.sinks import build

    prepare(settings)
    run_sinks(settings.cluster(), build(settings, names), stop)
