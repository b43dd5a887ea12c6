"""make bench-connectors: what each connector takes in, with confirmation after Kafka, beside its bare library.

One entry per protocol in ``tests/performance/connectors``: a module with ``measure(cluster, *, smoke)``, which gives
figures and runs what it measures in processes of their own. Exit status 1 when a figure misses its aim (not with
``--smoke``, which only shows that everything runs).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import uuid
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import msgspec
from rich.console import Console
from rich.table import Table

from schemas import topics
from streams import pipeline
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.local.kafka import Kafka
from tests.performance.connectors.figures import Figure

ENTRIES = ("mqtt", "sparkplug", "modbus", "opcua", "websocket", "fix")
PARTITIONS = 4


def fresh(bootstrap: str) -> Cluster:
    """A tenant of its own with the topics that connectors write."""
    cluster = Cluster(bootstrap, prefix=f"bench-{uuid.uuid4().hex[:6]}")
    written = {topic.name for found in pipeline.CONNECTORS.values() for topic in found} | {topics.dead_letters.name}
    specs = [spec for spec in pipeline.layout(PARTITIONS) if spec.name in written]
    layout.ensure(cluster, specs, timeout=120)
    return cluster


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        prog="make bench-connectors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("entries", nargs="*", default=ENTRIES, help=f"which of {', '.join(ENTRIES)}; default all")
    parser.add_argument("--smoke", action="store_true", help="a few seconds each: shows that it runs, measures nothing")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="instead: run for so long and watch the memory")
    parser.add_argument("--away", type=float, metavar="SECONDS", help="instead: keep Kafka away for so long")
    parser.add_argument("--kafka", help="host:port of an own Kafka instead of a fresh local one")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    if unknown := set(given.entries) - set(ENTRIES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}")
    if given.kafka and given.away is not None:
        parser.error("--away stops Kafka, so it takes a local one of its own: leave out --kafka")
    if given.away is not None and find_spec("quickfix") is None:
        parser.error("--away has quickfix as a venue, which is not installed: make quickfix compiles it")
    if given.kafka:
        return tell(measure(given.kafka, given), given)
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder)) as broker:
        if given.away is not None:
            return tell({"away": entry("away.run").measure(broker, fresh(broker.address), given.away)}, given)
        return tell(measure(broker.address, given), given)


def measure(bootstrap: str, given: argparse.Namespace) -> dict[str, list[Figure]]:
    """All that was asked for against one Kafka."""
    if given.soak is not None:
        return {"soak": entry("soak").measure(fresh(bootstrap), given.soak)}
    return {name: entry(name).measure(fresh(bootstrap), smoke=given.smoke) for name in given.entries}


def entry(name: str) -> ModuleType:
    """Loaded when it is measured: every process that is started here loads this module, and its memory counts."""
    return importlib.import_module(f"tests.performance.connectors.{name}")


def tell(found: dict[str, list[Figure]], given: argparse.Namespace) -> int:
    """Print the figures; the exit status."""
    table = Table("connector", "what", "measured", "aim", "bare library", "of bare")
    for name, figures in found.items():
        for each in figures:
            aim = (
                f"≥ {each.least:,.0f}"
                if each.least is not None
                else f"≤ {each.most:,.0f}"
                if each.most is not None
                else ""
            )
            table.add_row(
                name,
                each.what,
                f"{each.value:,.1f} {each.unit}",
                f"[red]{aim}[/red]" if each.missed else aim,
                "" if each.bare is None else f"{each.bare:,.1f} {each.unit}",
                "" if not each.bare else f"{each.value / each.bare:.2f}",
            )
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps(msgspec.to_builtins(found), indent=2) + "\n")
    return int(not given.smoke and any(each.missed for figures in found.values() for each in figures))


if __name__ == "__main__":
    sys.exit(main())
