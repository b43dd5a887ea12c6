"""Records with sensible defaults, so that a test names only what it is about."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from schemas import topics
from schemas.alerts import Severity
from schemas.base import Coordinates, Quality, Side
from schemas.control import KillSwitch
from schemas.evidence import Evidence
from schemas.fills import Fill
from schemas.gaps import Feed, Gap, GapReason
from schemas.instruments import Instrument
from schemas.intents import Intent
from schemas.limits import Limit, Measure
from schemas.positions import MarkStatus, Position
from schemas.rules import Comparison, Condition, PriceOf, Rule, Telepoint
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.vocabulary import MemoryDriver

T0 = 1_795_244_400_000_000  # 2026-11-21T07:00:00Z
SECOND = 1_000_000


class Make:
    """Builders; times are seconds after T0."""

    t0 = T0
    second = SECOND

    def time(self, seconds: float) -> int:
        return T0 + round(seconds * SECOND)

    def tick(self, instrument: str = "WTI", mid: float | None = 70.0, at: float = 0, **other: Any) -> Tick:
        sides = {"bid": None, "ask": None} if mid is None else {"bid": mid - 0.5, "ask": mid + 0.5}
        times = {"event_time": self.time(at), "receive_time": self.time(at)}
        return Tick(**{"instrument": instrument, "venue": "SIM", "sequence": 1, **sides, **times, **other})

    def fill(
        self, number: object = 1, side: Side = Side.BUY, quantity: Any = 10, price: Any = 70, **other: Any
    ) -> Fill:
        times = {"event_time": T0, "receive_time": T0}
        names = {"order_id": f"o-{number}", "book": "oil-desk", "instrument": "WTI", "currency": "USD", "venue": "SIM"}
        fee = Decimal(str(other.pop("fee", 0)))
        figures = {"side": side, "quantity": Decimal(str(quantity)), "price": Decimal(str(price)), "fee": fee}
        return Fill(**{"fill_id": f"f-{number}", **names, **figures, **times, **other})

    def gap(self, key: str = "WTI", at: float = 0, feed: Feed = Feed.TICKS, **other: Any) -> Gap:
        base = {"gap_id": f"g-{at}", "feed": feed, "key": key, "reason": GapReason.SILENCE, "open": True}
        return Gap(**{**base, "event_time": self.time(at), "receive_time": self.time(at), **other})

    def instrument(self, name: str = "WTI", **other: Any) -> Instrument:
        base = {"instrument": name, "name": f"{name} crude", "currency": "USD", "unit": "[bbl_us]", "venue": "SIM"}
        sizes = {"lot_size": Decimal(10), "max_order_quantity": Decimal(1000)}
        return Instrument(**{**base, **sizes, "event_time": T0, "receive_time": T0, **other})

    def position(
        self, instrument: str = "WTI", quantity: Any = 100, mark: float | None = 70.0, **other: Any
    ) -> Position:
        amount = Decimal(str(quantity))
        average = other.pop("average", Decimal(70))
        live = mark is not None
        marked = {
            "mark": mark,
            "mark_status": MarkStatus.LIVE if live else MarkStatus.UNKNOWN,
            "market_value": float(amount) * mark if mark is not None else None,
            "unrealised_pnl": float(amount) * (mark - float(average)) if mark is not None else None,
        }
        base = {
            "book": "oil-desk",
            "instrument": instrument,
            "currency": "USD",
            "unit": "[bbl_us]",
            "quantity": amount,
            "average_price": average,
            "realised_pnl": Decimal(0),
            "fees": Decimal(0),
            "fills": 1,
            "marked_by": None,
            "booked_by": None,
            "event_time": T0,
            "receive_time": T0,
        }
        return Position(**{**base, **marked, **other})

    def limit(self, limit_id: str = "oil-gross", soft: float = 1000, hard: float = 2000, **other: Any) -> Limit:
        base = {"limit_id": limit_id, "version": 1, "book": "oil-desk", "measure": Measure.GROSS, "currency": "USD"}
        return Limit(**{**base, "soft": soft, "hard": hard, "event_time": T0, "receive_time": T0, **other})

    def rule(self, *conditions: Condition, rule_id: str = "wind-short", **other: Any) -> Rule:
        base = {"rule_id": rule_id, "version": 1, "name": "Wind is short", "conditions": list(conditions)}
        return Rule(**{**base, "severity": Severity.WARNING, "event_time": T0, "receive_time": T0, **other})

    def condition(
        self, operand: Any, comparison: Comparison, threshold: float | None = None, **other: Any
    ) -> Condition:
        return Condition(operand=operand, comparison=comparison, threshold=threshold, **other)

    def point(self, point: str = "output_mw", device: str = "wind-1") -> Telepoint:
        return Telepoint(device=device, point=point)

    def price_of(self, instrument: str = "WTI") -> PriceOf:
        return PriceOf(instrument=instrument)

    def sample(self, value: float | None, at: float = 0, point: str = "output_mw", **other: Any) -> Telemetry:
        base = {"device": "wind-1", "point": point, "unit": "MW", "quality": Quality.GOOD, "sequence": 1}
        times = {"event_time": self.time(at), "receive_time": self.time(at)}
        return Telemetry(**{**base, "value": value, **times, **other})

    def intent(
        self, number: object = 1, side: Side = Side.BUY, quantity: Any = 10, at: float = 0, **other: Any
    ) -> Intent:
        evidence = Evidence(decided_by="rule:test", version=3, inputs=[])
        base = {"intent_id": f"i-{number}", "book": "oil-desk", "instrument": "WTI", "side": side, "collar": 1.0}
        times = {"event_time": self.time(at), "receive_time": self.time(at)}
        return Intent(**{**base, "quantity": Decimal(str(quantity)), "evidence": evidence, **times, **other})

    def switch(self, scope: str = "all", engaged: bool = True, **other: Any) -> KillSwitch:
        base = {"scope": scope, "version": 7, "engaged": engaged, "reason": "storm", "actor": "risk"}
        return KillSwitch(**{**base, "event_time": T0, "receive_time": T0, **other})


class Desk:
    """A driver that knows under which key a record stands."""

    def __init__(self, *processors: Any, partitions: int = 1) -> None:
        self.driver = MemoryDriver(list(processors), partitions=partitions)

    def send(self, *records: Any, run: bool = True) -> None:
        """Publish records on their topics, one run after each (so each is a batch of its own) unless told otherwise."""
        for record in records:
            topic = next(t for t in topics.ALL if isinstance(record, t.record))
            self.driver.publish(topic, key(record), record)
            if run:
                self.driver.run()
        self.driver.run()

    def all(self, topic: Any) -> list[Any]:
        return self.driver.records(topic)

    def latest(self, topic: Any) -> dict[str, Any]:
        return self.driver.latest(topic)

    def open(self, at: Coordinates, topic: Any) -> Any:
        """The record at coordinates, as an explanation would read it back."""
        return topic.decode(self.driver.log[at.topic, at.partition][at.offset].value())

    @property
    def dead(self) -> list[Any]:
        return self.driver.dead_letters


def key(record: Any) -> str:
    match record:
        case Position():
            return f"{record.book}|{record.instrument}"
        case Limit():
            return record.limit_id
        case Rule():
            return record.rule_id
        case KillSwitch():
            return record.scope
        case Gap():
            return record.key
        case Telemetry():
            return record.device
        case _:
            return record.instrument


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def desk() -> type[Desk]:
    return Desk
