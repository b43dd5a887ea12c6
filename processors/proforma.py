"""What a book would have at stake if an order were filled, orders still working at the venue included.

A working order may be filled or die. So each sum is taken twice, with all working buys and with all working sells, and
the worse of the two counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from schemas.base import Identifier
from schemas.limits import Limit, Measure


class Working(msgspec.Struct, frozen=True, gc=False):
    """An order that may still be filled: ``quantity`` and ``value`` (at the mark, in ``currency``) signed by side."""

    order_id: str
    instrument: Identifier
    currency: str
    quantity: Decimal
    value: float
    expire_time: int


class Reserved(msgspec.Struct, frozen=True, gc=False):
    """Sums of working orders: of the buys (zero or more) and of the sells (zero or less)."""

    buys: float = 0.0
    sells: float = 0.0

    def worst(self, base: float, order: float = 0.0) -> float:
        """The largest absolute amount that ``base`` can become with the order."""
        return max(abs(base + self.buys + order), abs(base + self.sells + order), abs(base + order))


NOTHING_RESERVED = Reserved()


def reserved(working: Iterable[Working]) -> dict[str, Reserved]:
    """Working orders' values by instrument."""
    sums: dict[str, Reserved] = {}
    for one in working:
        before = sums.get(one.instrument, NOTHING_RESERVED)
        sums[one.instrument] = Reserved(before.buys + max(one.value, 0.0), before.sells + min(one.value, 0.0))
    return sums


class Stake(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A book in the order's currency before the order, and the order. Amounts in the currency.

    ``values``: signed market values by instrument; ``losses``: of the whole book under ``""`` and by instrument.
    """

    gross: float
    net: float
    values: Mapping[str, float]
    losses: Mapping[str, float]
    working: Mapping[str, Reserved]
    instrument: str
    order: float

    def measure(self, limit: Limit) -> tuple[float, float]:
        """The measure that ``limit`` bounds, before and after the order.

        A loss is not changed by an order: what it costs shows only with the fill.
        """
        if limit.measure is Measure.LOSS:
            loss = self.losses.get(limit.instrument or "", 0.0)
            return loss, loss
        if limit.instrument is not None:
            order = self.order if limit.instrument == self.instrument else 0.0
            return self._position(limit.instrument, 0.0), self._position(limit.instrument, order)
        if limit.measure is Measure.NET:
            every = Reserved(
                sum(one.buys for one in self.working.values()), sum(one.sells for one in self.working.values())
            )
            return every.worst(self.net), every.worst(self.net, self.order)
        others = sum(
            max(0.0, self._position(name, 0.0) - abs(self.values.get(name, 0.0)))
            for name in self.working
            if name != self.instrument
        )
        rest = self.gross + others - abs(self.values.get(self.instrument, 0.0))
        return rest + self._position(self.instrument, 0.0), rest + self._position(self.instrument, self.order)

    def _position(self, name: str, order: float) -> float:
        return self.working.get(name, NOTHING_RESERVED).worst(self.values.get(name, 0.0), order)
