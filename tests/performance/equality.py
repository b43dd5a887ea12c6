"""Before anything is timed: every contestant's final positions are those that are worked out here, anew and exactly."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from schemas import topics
from tests.performance.contestants import Contestant, running
from tests.performance.load import BOOKS, Run, fresh, now, opening, tick

TOLERANCE = 1e-9
"""Relative; gridtape states average prices to ten decimals, the others as the nearest double."""
_decode = msgspec.json.Decoder().decode
Row = tuple[float, float, float, float]
"""Quantity, average price, mark, unrealised profit."""


class UnequalError(Exception):
    """A contestant's positions are not those of the load; the text names book, instrument and both numbers."""


@dataclass(frozen=True)
class Closing:
    """The last price of an instrument: the same in every turn, so that all contestants end with it."""

    name: str
    number: int

    @property
    def price(self) -> float:
        """Of the tick that is sent when the load has been read."""
        return 50 + self.number * 0.125


def expected(names: list[str]) -> dict[str, Row]:
    """Positions by ``book|instrument`` after all fills and the closing ticks, in exact arithmetic."""
    rows: dict[str, Row] = {}
    for number, name in enumerate(names):
        closing = tick(name, Closing(name, number).price, 0, 0)
        mark = (Decimal(str(closing.bid)) + Decimal(str(closing.ask))) / 2
        for book in range(BOOKS):
            fills = opening(book)
            sign = 1 if book % 2 else -1
            quantity = sum((amount for amount, _ in fills), Decimal(0)) * sign
            average = sum((amount * price for amount, price in fills), Decimal(0)) * sign / quantity
            rows[f"book-{book}|{name}"] = (
                float(quantity),
                float(average),
                float(mark),
                float(quantity * (mark - average)),
            )
    return rows


def check(contestant: Contestant, load: Run, names: list[str], count: int, timeout: float = 60.0) -> int:
    """Let it read the whole load, close every instrument, and compare; the number of positions that are equal.

    Raises UnequalError.
    """
    wanted = expected(names)
    with running(contestant, load, [count]) as started:
        started.wait("ticks")
        reader = load.reader(fresh("equality"))
        reader.subscribe([started.output])
        producer = load.publisher(linger_ms=5)
        found: dict[str, Row] = {}
        deadline, next_round = time.monotonic() + timeout, 0.0
        while found.keys() != wanted.keys() or any(not close(found[key], row) for key, row in wanted.items()):
            if time.monotonic() > deadline:
                raise UnequalError(f"{contestant.name}: {difference(found, wanted)}")
            if time.monotonic() > next_round:
                next_round = time.monotonic() + 0.5
                for number, name in enumerate(names):
                    closing = tick(name, Closing(name, number).price, count + 1, now())
                    producer.produce(load.named("ticks"), topics.ticks.encode(closing), name)
                producer.flush(30)
            for message in reader.consume(5_000, 0.2):
                if not message.error():
                    row = _decode(message.value() or b"")
                    found[f"{row['book']}|{row['instrument']}"] = numbers(row)
        reader.close()
    return len(wanted)


def numbers(row: dict[str, Any]) -> Row:
    """What is compared of an output. A mark that is not there yet is not a number."""
    quantity, average = float(row["quantity"]), float(row["average_price"])
    mark, profit = row.get("mark"), row.get("unrealised_pnl")
    return quantity, average, math.nan if mark is None else mark, math.nan if profit is None else profit


def close(one: Row, other: Row) -> bool:
    """Equal within the tolerance."""
    return all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in zip(one, other, strict=True))


def difference(found: dict[str, Row], wanted: dict[str, Row]) -> str:
    """The first position that differs, in words."""
    for key, row in wanted.items():
        if key not in found:
            return f"no position {key}"
        if not close(found[key], row):
            return f"position {key} is {found[key]}, must be {row} (quantity, average price, mark, unrealised)"
    return f"positions that nobody holds: {sorted(found.keys() - wanted.keys())[:3]}"
