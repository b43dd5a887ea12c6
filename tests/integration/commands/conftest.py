"""A small trading day on a real Kafka: every processor runs, and what they decided is there to be asked about."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas import cloudevents, topics
from schemas.base import Side
from schemas.fills import Fill
from schemas.gaps import Feed, Gap, GapReason
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from schemas.topics import Topic
from streams import control, pipeline
from streams.commands.describe import describe
from streams.commands.ledger import Entry, Ledger
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options, Worker
from streams.vocabulary import Words
from tests.topic import remove_tenant

PARTITIONS = 2
SECOND = 1_000_000
REFERENCE = """
[[instruments]]
instrument = "WTI"
name = "Crude oil"
currency = "USD"
unit = "[bbl_us]"
lot_size = "1000"
max_order_quantity = "5000"
venue = "REPLAY"

[[limits]]
limit_id = "oil-gross"
book = "oil-desk"
measure = "gross"
currency = "USD"
soft = 1000000.0
hard = 1200000.0
version = 3

[[rules]]
rule_id = "wind-short"
name = "Wind below 80 % of forecast"
version = 2
duration = 2000000

[[rules.conditions]]
operand = {source = "telemetry", device = "wind-1", point = "output_mw"}
comparison = "below"
relative_to = {source = "telemetry", device = "wind-1", point = "forecast_mw"}
factor = 0.8

[[rules.conditions]]
operand = {source = "price", instrument = "WTI"}
comparison = "above"
threshold = 50.0

[rules.action]
book = "hedge-desk"
instrument = "WTI"
side = "buy"
quantity = "1000"
collar = 0.5

[[rules]]
rule_id = "wind-far-short"
name = "Wind below half of forecast"
version = 1

[[rules.conditions]]
operand = {source = "telemetry", device = "wind-1", point = "output_mw"}
comparison = "below"
relative_to = {source = "telemetry", device = "wind-1", point = "forecast_mw"}
factor = 0.5

[rules.action]
book = "hedge-desk"
instrument = "WTI"
side = "sell"
quantity = "7500"
collar = 0.5

[[control]]
scope = "all"
engaged = false
reason = "open for business"
actor = "test"
"""


@dataclass
class Day:
    """A running pipeline and a way to feed it. ``now`` is its event time, microseconds."""

    cluster: Cluster
    now: int
    sequence: int = 0
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._producer = self.cluster.publisher(topics.ticks.name)

    def put(self, topic: Topic[Any], key: str, record: Any) -> None:
        self.sequence += 1
        headers = cloudevents.headers(topic.kind, "connectors/test", f"{topic.name}-{self.sequence}", record.event_time)
        self._producer.produce(self.cluster.named(topic.name), topic.encode(record), key.encode(), headers=headers)
        assert self._producer.flush(10) == 0

    def tick(self, price: float) -> None:
        self.sequence += 1
        times = {"event_time": self.now, "receive_time": self.now}
        tick = Tick(
            instrument="WTI", venue="REPLAY", bid=price - 0.01, ask=price + 0.01, sequence=self.sequence, **times
        )
        self.put(topics.ticks, "WTI", tick)

    def wind(self, output: float, forecast: float) -> None:
        for point, value in (("forecast_mw", forecast), ("output_mw", output)):
            self.sequence += 1
            sample = Telemetry(
                device="wind-1",
                point=point,
                value=value,
                unit="MW",
                sequence=self.sequence,
                event_time=self.now,
                receive_time=self.now,
            )
            self.put(topics.telemetry, "wind-1", sample)

    def fill(self, fill_id: str, quantity: str, price: str) -> None:
        fill = Fill(
            fill_id=fill_id,
            order_id=f"order-of-{fill_id}",
            book="oil-desk",
            instrument="WTI",
            side=Side.BUY,
            quantity=Decimal(quantity),
            price=Decimal(price),
            currency="USD",
            venue="OPENING",
            event_time=self.now,
            receive_time=self.now,
        )
        self.put(topics.fills, "WTI", fill)

    def silence(self) -> None:
        gap = Gap(
            gap_id=f"gap-{self.now}",
            feed=Feed.TICKS,
            key="WTI",
            reason=GapReason.SILENCE,
            open=True,
            event_time=self.now,
            receive_time=self.now,
        )
        self.put(topics.gaps, "WTI", gap)

    def records(self, wanted: Sequence[Topic[Any]]) -> list[Entry]:
        """Everything committed on the topics, oldest first by Kafka's time."""
        with Ledger(self.cluster) as ledger:
            found = [entry for window in ledger.newest_first(wanted) for entry in window]
        return sorted(found, key=lambda entry: (entry.time, entry.at))

    def story(self) -> str:
        wanted = [topic for topic in topics.ALL if topic is not topics.journal]
        return "\n".join(f"{entry.at} {describe(entry.record)}" for entry in self.records(wanted))

    def until(self, topic: Topic[Any], holds: Any, timeout: float = 30.0) -> Any:
        """The first record of ``topic`` for which ``holds``."""
        deadline = time.monotonic() + timeout
        while True:
            for entry in self.records([topic]):
                if holds(entry.record):
                    return entry.record
            assert time.monotonic() < deadline, f"nothing such on {topic.name} among:\n{self.story()}"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def day(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A breach, a fired rule with an order, and one with a rejection have happened; the processors still run."""
    cluster = Cluster(kafka, prefix=f"d{uuid.uuid4().hex[:8]}")
    layout.ensure(cluster, pipeline.layout(PARTITIONS))
    now = time.time_ns() // 1000
    reference: Path = tmp_path_factory.mktemp("day") / "reference.toml"
    reference.write_text(REFERENCE)
    control.publish(cluster, control.read_file(reference, now), PARTITIONS)
    workers = [
        Worker(cluster, processor, Words(), partitions=PARTITIONS, options=Options(idle_after=1.0))
        for processor in pipeline.PROCESSORS
    ]
    stop = threading.Event()
    thread = threading.Thread(
        target=run_workers,
        args=(workers, stop),
        kwargs={"stall_limit": math.inf},  # a stuck test must not end all tests
        name="day",
        daemon=True,
    )
    thread.start()
    try:
        yield _played(Day(cluster, now))
    finally:
        stop.set()
        thread.join(30)
        remove_tenant(cluster)


def _played(day: Day) -> Day:
    # An intent that is read before any tick has no price: so first every task must have come round once.
    tasks = {(processor.name, partition) for processor in pipeline.PROCESSORS for partition in range(PARTITIONS)}
    deadline = time.monotonic() + 30
    while tasks - {(e.record.application, e.record.partition) for e in day.records([topics.journal])}:
        assert time.monotonic() < deadline, "not every task came round"
        time.sleep(0.05)
    day.tick(75.0)
    day.fill("opening-1", "12000", "70.10")
    day.until(topics.positions, lambda held: held.market_value is not None)
    day.now += SECOND
    day.tick(110.0)
    day.ids["breach"] = day.until(topics.alerts, lambda alert: alert.kind == "breach-opened").alert_id
    for _ in range(4):
        day.now += SECOND
        day.tick(110.0)
        day.wind(output=31.2, forecast=60.0)
    day.ids["fired"] = day.until(topics.alerts, lambda alert: alert.kind == "rule-fired").alert_id
    order = day.until(topics.orders, lambda order: order.book == "hedge-desk")
    day.ids["order"], day.ids["intent"] = order.order_id, order.intent_id
    day.wind(output=20.0, forecast=60.0)
    day.ids["rejection"] = day.until(topics.rejections, lambda refused: refused.quantity == 7500).rejection_id
    return day
