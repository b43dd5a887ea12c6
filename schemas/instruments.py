"""What can be traded: written into every partition of a compacted control topic."""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Currency, Identifier, Micros, Record, Text, Unit

LEAST = Decimal("0.000000001")
MOST = Decimal(1_000_000_000)


class Instrument(Record, frozen=True, kw_only=True):
    """A tradable instrument. Prices are in ``currency`` per ``unit``; quantities are in ``unit``.

    An order's quantity is a whole multiple of ``lot_size`` and at most ``max_order_quantity``; both are above zero.
    """

    instrument: Identifier
    name: Text
    currency: Currency
    unit: Unit
    lot_size: Decimal
    max_order_quantity: Decimal
    venue: Identifier
    event_time: Micros
    receive_time: Micros

    def __post_init__(self) -> None:
        """Refuse what msgspec's types cannot: Decimal accepts the words NaN and Infinity, and a lot of nothing."""
        for name in ("lot_size", "max_order_quantity"):
            number = getattr(self, name)
            if not number.is_finite() or not LEAST <= number <= MOST:
                raise ValueError(f"{name} must be a decimal number from {LEAST} to {MOST}")
