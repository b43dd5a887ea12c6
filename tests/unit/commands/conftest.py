"""A small trading day in memory, decided by the real processors."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from schemas import topics
from schemas.base import Coordinates, Quality, Side
from schemas.fills import Fill
from schemas.gaps import Feed, Gap, GapReason
from schemas.instruments import Instrument
from schemas.limits import Limit, Measure
from schemas.rules import Comparison, Condition, PriceOf, Rule, Telepoint, TradeAction
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams import pipeline
from streams.commands.board import Board
from streams.vocabulary import MemoryDriver

SECOND = 1_000_000
NOON = 1_795_262_400_000_000
"""2026-11-21T12:00:00Z."""


class MemoryDay:
    """Feeds the processors and a board. ``now`` is the event and receive time of the next record, microseconds."""

    def __init__(self) -> None:
        self.now = NOON
        self.driver = MemoryDriver(pipeline.PROCESSORS, partitions=2)
        self.board = Board()
        self.sequence = 0

    @property
    def times(self) -> dict[str, int]:
        return {"event_time": self.now, "receive_time": self.now}

    def put(self, topic: Any, key: str, record: Any) -> None:
        self.driver.publish(topic, key, record)

    def instrument(self, name: str, unit: str = "[bbl_us]", most: str = "5000") -> None:
        record = Instrument(
            instrument=name,
            name=name.title(),
            currency="USD",
            unit=unit,
            lot_size=Decimal(1000),
            max_order_quantity=Decimal(most),
            venue="REPLAY",
            **self.times,
        )
        self.put(topics.instruments, name, record)

    def limit(self, limit_id: str, book: str, measure: Measure, soft: float, hard: float) -> None:
        record = Limit(
            limit_id=limit_id, version=3, book=book, measure=measure, currency="USD", soft=soft, hard=hard, **self.times
        )
        self.put(topics.limits, limit_id, record)

    def tick(self, name: str, price: float) -> None:
        self.sequence += 1
        record = Tick(
            instrument=name,
            venue="REPLAY",
            bid=price - 0.01,
            ask=price + 0.01,
            last=price,
            sequence=self.sequence,
            **self.times,
        )
        self.put(topics.ticks, name, record)

    def fill(self, book: str, name: str, side: Side, quantity: str, price: str) -> None:
        self.sequence += 1
        record = Fill(
            fill_id=f"opening-{self.sequence}",
            order_id=f"opening-{self.sequence}",
            book=book,
            instrument=name,
            side=side,
            quantity=Decimal(quantity),
            price=Decimal(price),
            currency="USD",
            venue="OPENING",
            **self.times,
        )
        self.put(topics.fills, name, record)

    def sample(
        self, device: str, point: str, value: float | None, unit: str = "MW", quality: Quality = Quality.GOOD
    ) -> None:
        self.sequence += 1
        record = Telemetry(
            device=device, point=point, value=value, unit=unit, quality=quality, sequence=self.sequence, **self.times
        )
        self.put(topics.telemetry, device, record)

    def gap(self, feed: Feed, key: str, reason: GapReason = GapReason.SILENCE, point: str | None = None) -> None:
        record = Gap(gap_id=f"gap-{self.now}", feed=feed, key=key, point=point, reason=reason, open=True, **self.times)
        self.put(topics.gaps, key, record)

    def rule(self, rule_id: str, name: str, factor: float, action: TradeAction, duration: int = 0) -> None:
        output, forecast = (Telepoint(device="wind-1", point=point) for point in ("output_mw", "forecast_mw"))
        record = Rule(
            rule_id=rule_id,
            version=2,
            name=name,
            conditions=[
                Condition(operand=output, comparison=Comparison.BELOW, relative_to=forecast, factor=factor),
                Condition(operand=PriceOf(instrument="WTI"), comparison=Comparison.ABOVE, threshold=50.0),
            ],
            duration=duration,
            action=action,
            **self.times,
        )
        self.put(topics.rules, rule_id, record)

    def record_at(self, at: Coordinates) -> Any:
        """The record at coordinates, as a reader of Kafka would find it."""
        message = self.driver.log[at.topic, at.partition][at.offset]
        return topics.BY_NAME[at.topic].decode(message.value())

    def settle(self) -> None:
        """Let the processors decide, and show the board everything."""
        self.driver.run()
        self.board = Board()
        for topic in topics.ALL:
            for record in self.driver.records(topic):
                self.board.take(topic, record)


@pytest.fixture
def memory_day() -> MemoryDay:
    """A breach, a fired rule with its order, a rejection, a gap: one of everything."""
    day = MemoryDay()
    for name in ("WTI", "BRENT", "HENRY-HUB"):
        day.instrument(name)
    day.limit("oil-gross", "oil-desk", Measure.GROSS, 1.8e6, 2.0e6)
    day.limit("oil-loss", "oil-desk", Measure.LOSS, 2.5e5, 5.0e5)
    day.limit("gas-gross", "gas-desk", Measure.GROSS, 8.2e5, 9.2e5)
    hedge = TradeAction(book="gas-desk", instrument="WTI", side=Side.BUY, quantity=Decimal(1000), collar=0.5)
    dump = TradeAction(book="gas-desk", instrument="WTI", side=Side.SELL, quantity=Decimal(7500), collar=0.5)
    day.rule("wind-short", "Wind below 80 % of forecast", 0.8, hedge, duration=2 * SECOND)
    day.rule("wind-far-short", "Wind below half of forecast", 0.5, dump)
    day.tick("WTI", 75.0)
    day.tick("BRENT", 79.2)
    day.tick("HENRY-HUB", 7.512)
    day.fill("oil-desk", "WTI", Side.BUY, "12000", "70.10")
    day.fill("oil-desk", "BRENT", Side.SELL, "9000", "81.40")
    day.fill("gas-desk", "HENRY-HUB", Side.BUY, "100000", "7.50")
    day.settle()
    for _ in range(4):
        day.now += SECOND
        day.tick("WTI", 110.0)
        day.sample("wind-1", "forecast_mw", 60.0)
        day.sample("wind-1", "output_mw", 31.2)
        day.sample("battery-1", "soc", 63.5, "%", Quality.UNCERTAIN)
        day.sample("gas-1", "temperature", None, "Cel", Quality.BAD)
        day.settle()
    day.now += SECOND
    day.gap(Feed.TICKS, "HENRY-HUB")
    day.sample("wind-1", "output_mw", 20.0)
    day.settle()
    return day
