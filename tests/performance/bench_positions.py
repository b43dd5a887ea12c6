"""make bench: the real positions processor in the real engine on the local Kafka, against plain consuming, in one run.

Prints ticks/s for plain consuming and for the engine (rounds taken in turn, medians and the ratio of each pair), the
peak memory of each process, and the time from a tick's creation to the committed position at a read_committed reader.
The load: TICKS ticks of 200 instruments (CloudEvents headers left out, as in the lab figures; ``--headers`` puts them
in), 5 books that hold each of them, so 1,000 positions are marked and written at each commit.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from processors.positions import Positions, PositionsNewest
from schemas import cloudevents, topics
from schemas.fills import Fill
from schemas.instruments import Instrument
from schemas.ticks import Tick
from streams import control, pipeline
from streams.engine import layout, metrics
from streams.engine.cluster import Cluster
from streams.engine.supervisor import run_workers
from streams.engine.worker import Worker
from streams.local.kafka import Kafka
from streams.vocabulary import Words

PARTITIONS = 4
BOOKS = 5
CONSUMER = {
    "fetch_message_max_bytes": 4 << 20,
    "queued_min_messages": 200_000,
    "queued_max_messages_kbytes": 4_096,
}
"""As the engine's own, so that the comparison is with the same consumer without the engine."""


def now() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000


def prepare(cluster: Cluster, instruments: int) -> list[str]:
    """Topics, instruments and one opening fill per book and instrument."""
    layout.ensure(cluster, pipeline.layout(PARTITIONS))
    names = [f"CRUDE-WTI-{n:04d}" for n in range(instruments)]
    at = now()
    stamp = {"event_time": at, "receive_time": at}
    records: list[control.Keyed] = [
        (
            topics.instruments,
            name,
            Instrument(
                instrument=name,
                name=name,
                currency="USD",
                unit="[bbl_us]",
                lot_size=Decimal("1000"),
                max_order_quantity=Decimal("50000"),
                venue="BENCH",
                **stamp,
            ),
        )
        for name in names
    ]
    records += [
        (
            topics.fills,
            name,
            Fill(
                fill_id=f"{book}-{name}",
                order_id=f"{book}-{name}",
                book=f"book-{book}",
                instrument=name,
                side="buy" if book % 2 else "sell",  # type: ignore[arg-type]
                quantity=Decimal("1000"),
                price=Decimal("60.25"),
                currency="USD",
                venue="BENCH",
                **stamp,
            ),
        )
        for name in names
        for book in range(BOOKS)
    ]
    control.publish(cluster, records, PARTITIONS)
    return names


def tick(name: str, price: float, sequence: int, at: int) -> Tick:
    """One tick, about 165 bytes of JSON."""
    return Tick(
        instrument=name,
        venue="NYMEX",
        bid=round(price - 0.01, 4),
        ask=round(price + 0.01, 4),
        last=round(price, 4),
        size=sequence % 50,
        sequence=sequence,
        event_time=at,
        receive_time=at,
    )


def load(cluster: Cluster, names: list[str], count: int, *, headers: bool) -> None:
    """Fill the ticks topic, seeded."""
    rng = random.Random(1)
    producer = cluster.publisher(linger_ms=20, batch_size=262_144, queue_buffering_max_messages=1_000_000)
    prices = {name: 60 + rng.random() * 20 for name in names}
    start, topic, encode = now(), cluster.named("ticks"), topics.ticks.encode
    for n in range(count):
        name = names[rng.randrange(len(names))]
        prices[name] += rng.gauss(0, 0.01)
        value = encode(tick(name, prices[name], n, start + n))
        extra = cloudevents.headers("tick", "bench", str(n), start + n) if headers else None
        while True:
            try:
                producer.produce(topic, value, name, headers=extra)
                break
            except BufferError:
                producer.poll(0.1)
        if n % 10_000 == 0:
            producer.poll(0)
    producer.flush()


def consume(cluster: Cluster, count: int) -> dict[str, float]:
    """Plain consuming: seconds from the first batch to the last tick."""
    consumer = cluster.reader(f"plain-{uuid.uuid4().hex[:6]}", **CONSUMER)
    consumer.subscribe([cluster.named("ticks")])
    seen, began = 0, 0.0
    while seen < count:
        batch = consumer.consume(10_000, 0.05)
        if batch and not began:
            began = time.perf_counter()
        seen += len(batch)
    seconds = time.perf_counter() - began
    consumer.close()
    return {"rate": count / seconds}


def engine(cluster: Cluster, count: int, *, newest: bool, seconds: float | None = None) -> dict[str, float]:
    """The worker, from its first tick until ``count`` are processed and committed; or for ``seconds``."""
    processor: type[Positions] = PositionsNewest if newest else Positions
    stop = threading.Event()
    thread = threading.Thread(
        target=run_workers, args=([Worker(cluster, processor, Words(), partitions=PARTITIONS)], stop)
    )
    done = metrics.records.labels("positions", "ticks")._value
    commits = metrics.commits.labels("positions")._value
    thread.start()
    if seconds is not None:
        time.sleep(seconds)
        stop.set()
        thread.join()
        return {"commits": commits.get()}
    while not done.get():
        time.sleep(0.0005)
    began, before = time.perf_counter(), done.get()
    while done.get() < count:
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    stop.set()
    thread.join()
    return {"rate": (count - before) / seconds, "commits": commits.get()}


def latency(cluster: Cluster, names: list[str], rate: float, seconds: float) -> dict[str, float]:
    """Milliseconds from a tick's creation to its committed position at a read_committed reader."""
    reader = cluster.reader(f"latency-{uuid.uuid4().hex[:6]}", auto_offset_reset="latest", fetch_wait_max_ms=100)
    ready = threading.Event()
    reader.subscribe([cluster.named("positions")], on_assign=lambda *_: ready.set())
    while not ready.is_set():
        reader.consume(1, 0.1)
    samples: list[float] = []
    running = threading.Event()

    def read() -> None:
        while not running.is_set():
            for message in reader.consume(1, 0.1) + reader.consume(5_000, 0):
                arrived = now()
                if not message.error():
                    samples.append((arrived - topics.positions.decode(message.value() or b"").event_time) / 1000)

    thread = threading.Thread(target=read)
    thread.start()
    producer = cluster.publisher(linger_ms=0)
    topic, encode = cluster.named("ticks"), topics.ticks.encode
    began, sent = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        due = sent / rate
        if due > elapsed:
            time.sleep(due - elapsed)
        name = names[sent % len(names)]
        producer.produce(topic, encode(tick(name, 60.0 + sent % 7, sent, now())), name)
        producer.poll(0)
        sent += 1
    producer.flush()
    time.sleep(1)
    running.set()
    thread.join()
    reader.close()
    steady = sorted(samples[len(samples) // 5 :])  # the first fifth: connections and caches warm up
    cut = statistics.quantiles(steady, n=100)
    return {"samples": len(steady), "p50": cut[49], "p95": cut[94], "p99": cut[98], "max": steady[-1]}


def child(bootstrap: str, prefix: str, *arguments: str) -> dict[str, float]:
    """Run one phase in a process of its own and return what it measured."""
    command = [sys.executable, __file__, "--child", bootstrap, prefix, *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout
    result: dict[str, float] = json.loads(out.splitlines()[-1])
    return result


def as_child(arguments: list[str]) -> None:
    """One phase: consume COUNT | engine COUNT all|newest | run SECONDS."""
    bootstrap, prefix, phase, amount, *rest = arguments
    cluster = Cluster(bootstrap, prefix=prefix)
    if phase == "consume":
        result = consume(cluster, int(amount))
    elif phase == "engine":
        result = engine(cluster, int(amount), newest=rest == ["newest"])
    else:
        result = engine(cluster, 0, newest=False, seconds=float(amount))
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def throughput(bootstrap: str, given: argparse.Namespace, *, instruments: int) -> dict[str, Any]:
    """Rounds of plain, engine, engine with newest-only decoding, one after the other on the same ticks."""
    rounds: dict[str, list[dict[str, float]]] = {"plain": [], "engine": [], "newest": []}
    for _ in range(given.rounds):
        # A tenant of its own per engine run: the group starts at the first tick and no state is left from before.
        prefixes = [f"bench-{uuid.uuid4().hex[:6]}" for _ in range(2)]
        for prefix, variant in zip(prefixes, ("engine", "newest"), strict=True):
            cluster = Cluster(bootstrap, prefix=prefix)
            load(cluster, prepare(cluster, instruments), given.ticks, headers=given.headers)
            if variant == "engine":
                rounds["plain"].append(child(bootstrap, prefix, "consume", str(given.ticks)))
            mode = "all" if variant == "engine" else "newest"
            rounds[variant].append(child(bootstrap, prefix, "engine", str(given.ticks), mode))
    return rounds


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=1_500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each latency measurement")
    parser.add_argument("--instruments", type=int, default=200)
    parser.add_argument(
        "--headers", action="store_true", help="ticks with CloudEvents headers, as the connectors write"
    )
    parser.add_argument("--kafka", help="host:port of an own Kafka instead of a fresh local one")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        as_child(given.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        if given.kafka:
            measure(given.kafka, given)
        else:
            with Kafka(Path(folder)) as broker:
                measure(broker.address, given)


def measure(bootstrap: str, given: argparse.Namespace) -> None:
    """All parts against one broker."""
    console = Console()
    rounds = throughput(bootstrap, given, instruments=given.instruments)
    plain = [r["rate"] for r in rounds["plain"]]
    table = Table(
        "what", "ticks/s (median)", "of plain", "peak MB", title=f"{given.ticks:,} ticks, {given.rounds} rounds"
    )
    figures: dict[str, Any] = {"ticks": given.ticks, "instruments": given.instruments}
    for variant, title in (
        ("plain", "plain consuming"),
        ("engine", "positions, every tick decoded"),
        ("newest", "positions, newest tick per key decoded"),
    ):
        rates = [r["rate"] for r in rounds[variant]]
        ratio = statistics.median(mine / theirs for mine, theirs in zip(rates, plain, strict=True))
        peak = max(r["peak_mb"] for r in rounds[variant])
        table.add_row(title, f"{statistics.median(rates):,.0f}", f"{ratio:.2f}", f"{peak:.0f}")
        figures[variant] = {"ticks_per_second": statistics.median(rates), "of_plain": ratio, "peak_mb": peak}
    console.print(table)
    table = Table("ticks/s", "samples", "p50 ms", "p95 ms", "p99 ms", "max ms", title="tick to committed position")
    # The first is not shown: until then the fresh broker's JVM interprets and compiles its transaction code.
    for rate, shown in ((500.0, False), (200.0, True), (2000.0, True)):
        prefix = f"bench-{uuid.uuid4().hex[:6]}"
        cluster = Cluster(bootstrap, prefix=prefix)
        names = prepare(cluster, given.instruments)
        worker = subprocess.Popen(
            [sys.executable, __file__, "--child", bootstrap, prefix, "run", str(given.seconds + 8)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(4)  # until the worker has booked the fills
        result = latency(cluster, names, rate, given.seconds)
        worker.wait(60)
        if not shown:
            continue
        table.add_row(
            f"{rate:g}", f"{result['samples']:,}", *(f"{result[k]:.1f}" for k in ("p50", "p95", "p99", "max"))
        )
        figures[f"latency_{rate:g}"] = result
    console.print(table)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
