"""What every contestant is fed: topics, instruments, opening fills and ticks; seeded, so the same every time.

200 instruments, 5 books that hold each of them, ticks of about 165 bytes. A load lies under a topic prefix of its own
and is read by any number of contestants; each writes under another prefix.
"""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass
from decimal import Decimal

from confluent_kafka import KafkaError, KafkaException

from schemas import cloudevents, topics
from schemas.base import Side
from schemas.fills import Fill
from schemas.instruments import Instrument
from schemas.ticks import Tick
from streams import control, pipeline
from streams.engine import layout
from streams.engine.cluster import Cluster

PARTITIONS = 4
BOOKS = 5
INPUTS = ("ticks", "fills", "gaps", "instruments")


def now() -> int:
    """UTC microseconds."""
    return time.time_ns() // 1000


def names(count: int) -> list[str]:
    """Instruments."""
    return [f"CRUDE-WTI-{n:04d}" for n in range(count)]


@dataclass(frozen=True)
class Run(Cluster):
    """A cluster on which the inputs lie under the load's ``prefix`` and all else under that of one run."""

    run: str = ""

    def named(self, name: str) -> str:
        """As it is called on this cluster."""
        return f"{self.prefix}-{name}" if name in INPUTS else f"{self.prefix}-{self.run}-{name}"


def fresh(word: str) -> str:
    """A name that nothing on the cluster has yet."""
    return f"{word}-{uuid.uuid4().hex[:6]}"


def create(cluster: Cluster, *wanted: str) -> None:
    """The topics of a run or of a load, with the settings they have in the pipeline."""
    layout.ensure(cluster, [spec for spec in pipeline.layout(PARTITIONS) if spec.name in wanted])


def opening(book: int) -> list[tuple[Decimal, Decimal]]:
    """Quantity and price of a book's two fills of every instrument; odd books buy, even ones sell."""
    return [(Decimal(1000 * (book + 1)), Decimal("60.25") + book), (Decimal(500 * (book + 1)), Decimal("61.25") + book)]


def open_books(cluster: Cluster, instruments: list[str]) -> None:
    """Input topics, instruments, and two opening fills per book and instrument."""
    create(cluster, *INPUTS)
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
        for name in instruments
    ]
    records += [
        (
            topics.fills,
            name,
            Fill(
                fill_id=f"{part}-{book}-{name}",
                order_id=f"{part}-{book}-{name}",
                book=f"book-{book}",
                instrument=name,
                side=Side.BUY if book % 2 else Side.SELL,
                quantity=quantity,
                price=price,
                currency="USD",
                venue="BENCH",
                **stamp,
            ),
        )
        for name in instruments
        for book in range(BOOKS)
        for part, (quantity, price) in enumerate(opening(book))
    ]
    control.publish(cluster, records, PARTITIONS, timeout=60)


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


def fill_ticks(
    cluster: Cluster, instruments: list[str], count: int, *, headers: bool = False, once: bool = False
) -> None:
    """Write ``count`` ticks of random instruments; with ``once``, one of each in turn. CloudEvents headers are left
    out unless asked for, as in the figures of others."""
    rng = random.Random(1)
    producer = cluster.publisher(linger_ms=20, batch_size=262_144, queue_buffering_max_messages=1_000_000)
    prices = {name: 60 + rng.random() * 20 for name in instruments}
    start, topic, encode = now(), cluster.named("ticks"), topics.ticks.encode
    for n in range(count):
        name = instruments[n if once else rng.randrange(len(instruments))]
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
    producer.flush(30)


def drop(cluster: Cluster, prefix: str) -> None:
    """Delete every topic of a load or a run: nobody else's figures shall pay for it."""
    admin = cluster.admin()
    doomed = [name for name in admin.list_topics(timeout=15).topics if name.startswith(f"{prefix}-")]
    for future in admin.delete_topics(doomed, operation_timeout=30).values() if doomed else ():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # listed a moment longer than it was there
                raise
