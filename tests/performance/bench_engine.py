"""make bench-engine: the same work in gridtape, Kafka Streams, Quix Streams and Faust, in turn, on one broker.

First the final positions of all are compared with those worked out apart; then throughput (conflated, and one output
per tick), latency, restore and memory are measured. docs/benchmarks.md says what is compared and how fair it is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.local.kafka import Kafka
from streams.local.progress import Progress
from tests.performance import parts, report
from tests.performance.load import names
from tests.performance.peers import environments

PARTS = ("equal", "restore", "latency", "each", "conflated")
"""In this order: the last takes as many rounds as there is time for."""
SYSTEMS = ("gridtape", "kafka-streams", "quix", "faust")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=9.0, help="of each latency measurement")
    parser.add_argument("--keys", type=int, default=1_000_000, help="in the state that is restored")
    parser.add_argument("--minutes", type=float, default=15.0, help="begin no further round that would end later")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--smoke", action="store_true", help="a little of everything: shows that the programs run")
    parser.add_argument("--kafka", help="host:port of an own Kafka instead of a fresh local one")
    parser.add_argument("--out", type=Path, help="folder for figures and plot; FOLDER.md beside it gets the tables")
    given = parser.parse_args()
    if given.smoke:
        given.ticks, given.rounds, given.seconds, given.keys = 60_000, 1, 2.0, 2_000
    return given


def main() -> None:
    """Run the benchmark."""
    given = arguments()
    console = Console()
    if "kafka-streams" in given.only:
        environments.kafka_streams(Progress())
    for name in [*(name for name in given.only if name in environments.PYTHON), *(["plot"] if given.out else [])]:
        environments.python(name)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if given.kafka:
            result = measure(given.kafka, given, began, console)
        else:
            with Kafka(Path(folder)) as broker:
                result = measure(broker.address, given, began, console)
    report.show(result, console)
    if given.out:
        report.write(result, given.out)
        console.print(f"{time.monotonic() - began:.0f} s; written to {given.out} and {given.out}.md")


def measure(bootstrap: str, given: argparse.Namespace, began: float, console: Console) -> dict[str, Any]:
    """All parts against one broker."""
    plan = parts.Plan(
        bootstrap=bootstrap,
        ticks=given.ticks,
        rounds=given.rounds,
        seconds=given.seconds,
        keys=given.keys,
        systems=frozenset(given.only),
        until=began + given.minutes * 60,
        say=lambda text: console.print(f"{time.monotonic() - began:4.0f} s  {text}", highlight=False),
    )
    result: dict[str, Any] = {
        "machine": report.machine(),
        "ticks": given.ticks,
        "rounds": given.rounds,
        "keys": given.keys,
    }
    try:
        if "equal" in given.parts:
            result["equal"] = parts.equal(plan)
        if "restore" in given.parts:
            result["restore"] = parts.restore(plan)
        if "latency" in given.parts:
            result["latency"] = parts.delays(plan)
        if {"each", "conflated"} & set(given.parts):
            load = plan.load(given.ticks, names(plan.instruments))
            for part, contestants in (("each", parts.EACH), ("conflated", parts.CONFLATED)):
                if part in given.parts:
                    result[part] = parts.throughput(plan, contestants, load)
    finally:
        plan.clean()
    result["left_out"] = plan.left_out
    return result


if __name__ == "__main__":
    main()
