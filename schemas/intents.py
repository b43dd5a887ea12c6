"""What a rule or a person wants to trade, before and after it met the market's price."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from schemas.base import Coordinates, Identifier, Micros, Price, Record, Side
from schemas.evidence import Evidence


class Intent(Record, frozen=True, kw_only=True):
    """The wish to trade; nothing is sent before the gate has passed it. Keyed by instrument.

    ``collar`` is how far from the mark the order's limit price may lie, in price units. ``quantity`` is positive.
    """

    intent_id: Identifier
    book: Identifier
    instrument: Identifier
    side: Side
    quantity: Decimal
    collar: Annotated[float, Meta(ge=0, le=1e9)]
    evidence: Evidence
    event_time: Micros
    receive_time: Micros

    def __post_init__(self) -> None:
        """A quantity is above zero and finite."""
        if not self.quantity.is_finite() or self.quantity <= 0:
            raise ValueError("quantity must be a finite number above zero")


class PricedIntent(Record, frozen=True, kw_only=True):
    """An intent with the market as it stood when it arrived. Keyed by book, where the gate decides.

    ``bid``, ``ask`` and ``mark`` are null when there was no tick, or an open gap after it (``price_reason`` says why).
    """

    intent: Intent
    intent_at: Coordinates
    bid: Price | None
    ask: Price | None
    mark: Price | None
    priced_by: Coordinates | None
    price_time: Micros | None
    price_reason: str = ""
    event_time: Micros
    receive_time: Micros
