"""gridtape run: the three kinds of process."""

from __future__ import annotations

import enum
import math
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from types import FrameType

import structlog

from processors.processor import Processor
from streams import pipeline
from streams.commands.quiet import one_voice, quiet
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.stores import MemoryStores, Stores
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options, Worker
from streams.settings import Settings, SettingsError
from streams.vocabulary import Words

log = structlog.get_logger(__name__)
_ROUND_SECONDS = 0.02
_SILENT_SECONDS = 2.0  # for which a person waits without a word


def prepare(settings: Settings) -> list[str]:
    """Create the topics that are missing; return their names. Raises Fatal when one differs from the wiring."""
    specs = pipeline.layout(settings.partitions)
    return layout.ensure(quiet(settings.cluster()), specs, replication=settings.replication)


def _prepared(settings: Settings, stop: threading.Event) -> bool:
    """:func:`prepare`, or false if ``stop`` comes first: Kafka's client waits in C, where no signal is heard."""
    outcome: Future[list[str]] = Future()

    def work() -> None:
        try:
            outcome.set_result(prepare(settings))
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            outcome.set_exception(error)

    threading.Thread(target=work, name="topics", daemon=True).start()
    silent_until = time.monotonic() + _SILENT_SECONDS
    while not stop.wait(_ROUND_SECONDS):
        if outcome.done():
            outcome.result()
            return True
        if time.monotonic() > silent_until:
            silent_until = math.inf
            log.info("waiting for Kafka to say which topics it has", kafka=settings.kafka, at_most="30 s")
    return False


class Engine(enum.StrEnum):
    """What runs the processors."""

    NATIVE = "native"
    FAUST = "faust"


def processors(
    settings: Settings, names: Sequence[str], slot: int, stop: threading.Event, engine: Engine = Engine.NATIVE
) -> None:
    """Run the named processors (all when none is named), one worker each, until ``stop``.

    Raises SettingsError for a name that is not in the wiring, or what the engine cannot do, and Fatal when a worker
    cannot go on.
    """
    known = {processor.name: processor for processor in pipeline.PROCESSORS}
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"no processor {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in names or known]
    cluster = settings.cluster()
    if engine is Engine.FAUST:
        _on_faust(settings, cluster, chosen, slot, stop)
        return
    if not _prepared(settings, stop):
        return
    with one_voice(cluster) as cluster:
        workers = [
            Worker(
                cluster,
                one,
                Words(),
                partitions=settings.partitions,
                slot=slot,
                options=Options(standbys=settings.standbys),
                stores=stores_of(settings, one, slot),
            )
            for one in chosen
        ]
        run_workers(workers, stop)


def _on_faust(
    settings: Settings, cluster: Cluster, chosen: Sequence[type[Processor]], slot: int, stop: threading.Event
) -> None:
    if cluster.security:
        raise SettingsError("the Faust engine reaches Kafka without TLS and passwords only; use the native one")
    if slot:
        raise SettingsError("slots are the native engine's; processes on Faust share the work without a number")
    try:
        from streams.faust_driver.host import Host
        from streams.faust_driver.run import run_hosts
    except ModuleNotFoundError as error:
        raise SettingsError(f"the Faust engine needs {error.name}: install gridtape[faust]") from error
    if not _prepared(settings, stop):
        return
    hosts = [
        Host(cluster, one, Words(), partitions=settings.partitions, replication=settings.replication) for one in chosen
    ]
    run_hosts(hosts, stop)


def stores_of(settings: Settings, processor: type[Processor], slot: int) -> Stores:
    """Where a worker keeps the state of its tasks. Raises SettingsError when the extra ``disk`` is not installed."""
    if settings.state == "memory":
        return MemoryStores()
    try:
        from streams.engine.disk import DiskStores
    except ImportError as error:
        raise SettingsError(
            f"GRIDTAPE_STATE=disk needs the extra disk ({error}): pip install 'gridtape[disk]'"
        ) from error
    cluster = quiet(settings.cluster())
    return DiskStores(cluster, processor, settings.state_dir / cluster.named(f"{processor.name}-{slot}"))


def connectors(settings: Settings, file: Path | None, stop: threading.Event) -> None:
    """Run the connectors that the TOML file describes until ``stop``; SIGHUP has the file read again.

    With ``[changes]`` in it, records on ``device-settings`` change devices, too. Raises ConfigError with all errors at
    once when the file cannot be used at the start, SettingsError when none is named.
    """
    from connectors.changes.layers import Layers
    from connectors.changes.source import Source
    from connectors.runner import run_connectors

    if file is None and not settings.connectors_file.exists():
        raise SettingsError(
            f"there is no file {settings.connectors_file}; name yours with --config FILE or GRIDTAPE_CONNECTORS_FILE "
            "(an example.toml lies beside each connector)"
        )
    layers = Layers(file or settings.connectors_file)  # before Kafka is asked for anything
    if not _prepared(settings, stop):
        return
    hung_up = False  # no Event: whom the signal interrupts may hold its lock

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        nonlocal hung_up
        hung_up = True

    def asked_again() -> bool:
        nonlocal hung_up
        asked, hung_up = hung_up, False
        return asked

    before = signal.signal(signal.SIGHUP, hang_up)

    try:
        with closing(Source(layers, quiet(settings.cluster()), asked_again)) as source:
            run_connectors(source.config, settings.cluster(), stop, settings.data_dir / "waiting", source.changed)
    finally:
        signal.signal(signal.SIGHUP, before)


def sinks(settings: Settings, names: Sequence[str], stop: threading.Event) -> None:
    """Run the named sinks (all that are configured when none is named) until ``stop``."""
    from sinks.runner import run_sinks
    from streams.commands.sinks import build

    if not _prepared(settings, stop):
        return
    with one_voice(settings.cluster()) as cluster:
        run_sinks(cluster, build(settings, names), stop)
