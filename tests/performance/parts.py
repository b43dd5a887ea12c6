"""The parts of ``make bench-engine``: which contestants take part in what, and what is taken down."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import TopicPartition

from tests.performance.contestants import Contestant, running
from tests.performance.equality import check
from tests.performance.latency import latency
from tests.performance.load import PARTITIONS, Run, create, drop, fill_ticks, fresh, names, open_books

GRIDTAPE = Contestant("gridtape", "gridtape", "positions")
STREAMS = Contestant("Kafka Streams, 1 thread", "kafka-streams", "positions")
STREAMS_2 = Contestant("Kafka Streams, 2 threads", "kafka-streams", "positions", workers=2)
QUIX = Contestant("Quix Streams", "quix", "positions", share=0.06)
FAUST = Contestant("Faust (at least once)", "faust", "positions", share=0.003)
PLAIN = Contestant("plain consuming", "gridtape", "consume")
CONFLATED = [
    PLAIN,
    GRIDTAPE,
    Contestant("gridtape, newest tick per key", "gridtape", "newest"),
    Contestant("gridtape, 2 processes", "gridtape", "positions", workers=2),
    STREAMS,
    STREAMS_2,
    Contestant("Kafka Streams, aggregate()", "kafka-streams", "aggregate", share=0.2),
    QUIX,
    FAUST,
]
EACH = [
    Contestant("gridtape", "gridtape", "marks", share=0.2),
    Contestant("Kafka Streams, 1 thread", "kafka-streams", "marks", share=0.4),
    Contestant("Kafka Streams, 2 threads", "kafka-streams", "marks", workers=2, share=0.4),
    Contestant("Quix Streams", "quix", "marks", share=0.06),
    Contestant("Faust (at least once)", "faust", "marks", share=0.003),
]
LATENCY = [
    GRIDTAPE,
    STREAMS,
    Contestant("Kafka Streams, commit 5 ms", "kafka-streams", "positions", commit_ms=5),
    QUIX,
]
RESTORE = [
    Contestant("gridtape", "gridtape", "marks"),
    Contestant("Kafka Streams", "kafka-streams", "marks"),
]
WARM = 0.4
"""Part of the ticks that is not timed: Java's compiler needs some two million ticks."""
Figures = dict[str, Any]


@dataclass
class Plan:
    """How much of everything. ``until``: a time of ``time.monotonic``, after which no further round is begun."""

    bootstrap: str
    ticks: int
    rounds: int
    seconds: float
    keys: int
    systems: frozenset[str]
    until: float
    say: Callable[[str], None]
    instruments: int = 200
    loaded: list[Run] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Who did not run, and why: one that fails shall not take the others' figures along."""

    def of(self, contestants: list[Contestant]) -> list[Contestant]:
        """Those that are asked for and have not failed."""
        return [one for one in contestants if one.system in self.systems and one.name not in self.left_out]

    def part(self, contestant: Contestant) -> int:
        """Ticks for one run of it: of a small load more than its share, since some take 5,000 at once."""
        return max(int(self.ticks * contestant.share), min(self.ticks, 12_000))

    def fail(self, contestant: Contestant, why: RuntimeError) -> None:
        """Leave it out from here on."""
        self.say(f"{contestant.name} is left out: {why}")
        self.left_out[contestant.name] = str(why).splitlines()[0]

    def load(self, count: int, instruments: list[str], *, books: bool = True, once: bool = False) -> Run:
        """A load of its own."""
        self.say(f"writing {count:,} ticks")
        load = Run(self.bootstrap, prefix=fresh("bench"))
        self.loaded.append(load)
        if books:
            open_books(load, instruments)
        else:
            create(load, "ticks")
        fill_ticks(load, instruments, count, once=once)
        return load

    def clean(self) -> None:
        """Delete what was loaded."""
        for load in self.loaded:
            drop(load, load.prefix)
        self.loaded.clear()


def equal(plan: Plan) -> Figures:
    """Positions by contestant that are equal to those worked out apart from all of them."""
    instruments = names(plan.instruments)
    count = min(5_000, plan.ticks)
    load = plan.load(count, instruments)
    found: Figures = {}
    for contestant in plan.of(CONFLATED):
        if contestant is PLAIN:
            continue
        plan.say(f"comparing the positions of {contestant.name}")
        try:
            found[contestant.name] = {"positions": check(contestant, load, instruments, count)}
        except RuntimeError as error:
            plan.fail(contestant, error)
    plan.clean()
    return found


def throughput(plan: Plan, contestants: list[Contestant], load: Run) -> Figures:
    """Ticks a second, CPU seconds per million ticks (the clients' own, not the broker's) and peak memory: medians of
    rounds in which the contestants take turns. ``ratio`` to Kafka Streams with one thread is that within a round."""
    rounds: dict[str, list[dict[str, float]]] = {contestant.name: [] for contestant in plan.of(contestants)}
    longest = 0.0
    for number in range(plan.rounds):
        if number and time.monotonic() + longest > plan.until:
            plan.say(f"the time is over after {number} of {plan.rounds} rounds")
            break
        began = time.monotonic()
        for contestant in plan.of(contestants):
            plan.say(f"round {number + 1} of {plan.rounds}: {contestant.name}")
            try:
                rounds[contestant.name].append(timed(contestant, load, plan.part(contestant)))
            except RuntimeError as error:
                plan.fail(contestant, error)
                del rounds[contestant.name]
        longest = max(longest, time.monotonic() - began)
    reference = rounds.get(STREAMS.name)
    found: Figures = {}
    for name, taken in rounds.items():
        found[name] = {key: statistics.median(one[key] for one in taken) for key in taken[0]}
        found[name]["rounds"] = [one["ticks_per_second"] for one in taken]
        if reference:
            pairs = zip(taken, reference, strict=True)
            found[name]["ratio"] = statistics.median(a["ticks_per_second"] / b["ticks_per_second"] for a, b in pairs)
    return found


def timed(contestant: Contestant, load: Run, count: int) -> dict[str, float]:
    """One run from its warm mark to its last tick."""
    with running(contestant, load, [int(count * WARM), count]) as started:
        warm, done = started.wait("ticks"), started.wait("ticks")
        ticks, seconds = done["ticks"] - warm["ticks"], done["seconds"] - warm["seconds"]
        if not ticks:
            raise RuntimeError(f"{count:,} ticks are too few to time {contestant.name}")
        cpu = done.get("cpu_all", done["cpu"]) - warm.get("cpu_all", warm["cpu"])
        return {
            "ticks_per_second": ticks / seconds,
            "cpu_seconds_per_million": cpu / ticks * 1e6,
            "peak_mb": started.peak_mb(),
        }


def delays(plan: Plan) -> Figures:
    """Milliseconds from tick to committed output, by contestant and rate. A warm-up goes before: until then the fresh
    broker's JVM interprets and compiles its transaction code."""
    instruments = names(plan.instruments)
    found: Figures = {}
    for contestant, rate, counted in [
        (GRIDTAPE, 500.0, False),
        *((contestant, rate, True) for contestant in LATENCY for rate in (200.0, 2000.0)),
    ]:
        if contestant not in plan.of(LATENCY):
            continue
        load = Run(plan.bootstrap, prefix=fresh("bench"))
        open_books(load, instruments)
        if counted:
            plan.say(f"latency of {contestant.name} at {rate:g} ticks/s")
        try:
            with running(contestant, load) as started:
                result = latency(load, started.output, instruments, rate, plan.seconds)
            if counted:
                found.setdefault(contestant.name, {})[f"{rate:g}"] = result
        except RuntimeError as error:
            plan.fail(contestant, error)
        drop(load, load.prefix)
    return found


def restore(plan: Plan) -> Figures:
    """Seconds from the start until all state is back from the changelog, and what a key takes in memory beyond the
    bytes of its value there."""
    load = plan.load(plan.keys, names(plan.keys), books=False, once=True)
    found: Figures = {}
    for contestant in plan.of(RESTORE):
        plan.say(f"restore of {plan.keys:,} keys by {contestant.name}")
        try:
            found[contestant.name] = restored(contestant, load, plan.keys)
        except RuntimeError as error:
            plan.fail(contestant, error)
    plan.clean()
    return found


def restored(contestant: Contestant, load: Run, keys: int) -> dict[str, float]:
    """One that has all of the state, ends, and begins again with nothing."""
    run = Run(load.bootstrap, prefix=load.prefix, run=fresh("run"))
    with running(contestant, load, [keys], run=run.run) as started:
        started.wait("ticks")
        until_committed(run, keys)
    with running(contestant, load, run=run.run) as started:
        began, ready = started.wait("started"), started.wait("running")
        if ready["restored"] < keys:
            raise RuntimeError(f"{contestant.name} restored {ready['restored']:,.0f} of {keys:,} keys")
        value = value_bytes(run, changelog(contestant, run))
        memory = started.ask()["heap_bytes"] / keys
        peak = started.peak_mb()
    drop(load, f"{load.prefix}-{run.run}")
    return {
        "seconds": ready["seconds"] - began["seconds"],
        "value_bytes": value,
        "bytes_per_key_beyond_value": memory - value,
        "peak_mb": peak,
    }


def changelog(contestant: Contestant, run: Run) -> str:
    """The topic in which a contestant keeps its state."""
    own = contestant.system == "gridtape"
    return run.named("positions-changelog") if own else f"{run.prefix}-{run.run}-state-changelog"


def until_committed(run: Run, count: int, timeout: float = 60.0) -> None:
    """Wait until a read_committed reader would see ``count`` outputs. Raises RuntimeError after ``timeout`` seconds."""
    reader = run.reader(fresh("committed"))
    places = [TopicPartition(run.named("positions"), partition) for partition in range(PARTITIONS)]
    deadline = time.monotonic() + timeout
    try:
        # The last stable offset also counts the markers of transactions: a few more than the records.
        while sum(reader.get_watermark_offsets(place, 5)[1] for place in places) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{count:,} outputs were not committed within {timeout:g} s")
            time.sleep(0.05)
    finally:
        reader.close()


def value_bytes(run: Run, topic: str) -> float:
    """Mean bytes of a changelog record's value."""
    reader = run.reader(fresh("values"))
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    sizes = [len(message.value() or b"") for message in reader.consume(5_000, 5) if not message.error()]
    reader.close()
    return statistics.mean(sizes)
