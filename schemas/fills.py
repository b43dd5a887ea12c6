"""Executions: what was really bought and sold."""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Currency, Identifier, Micros, Record, Side


class Fill(Record, frozen=True, kw_only=True):
    """One execution. Keyed by instrument. ``fill_id`` is the idempotency key: a second one is not booked again.

    ``quantity`` is positive, in the instrument's unit; ``price`` is in ``currency`` per unit and may be negative;
    ``fee`` is what the fill cost, in ``currency``.
    """

    fill_id: Identifier
    order_id: Identifier
    book: Identifier
    instrument: Identifier
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal = Decimal(0)
    currency: Currency
    venue: Identifier
    event_time: Micros
    receive_time: Micros

    def __post_init__(self) -> None:
        """Refuse what msgspec's types cannot: Decimal accepts the words NaN and Infinity."""
        for name in ("quantity", "price", "fee"):
            if not getattr(self, name).is_finite():
                raise ValueError(f"{name} must be a finite decimal number")
        if self.quantity <= 0:
            raise ValueError("quantity must be above zero; the side says the direction")
