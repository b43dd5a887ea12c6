"""Orders that passed every check of the gate."""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Currency, Identifier, Micros, Price, Record, Side
from schemas.evidence import Check, Evidence


class Order(Record, frozen=True, kw_only=True):
    """A limit order, immediate or cancel: good until ``expire_time``, then dead. Keyed by instrument.

    ``order_id`` is made from the intent's id: an intent can become at most one order.
    """

    order_id: Identifier
    intent_id: Identifier
    book: Identifier
    instrument: Identifier
    side: Side
    quantity: Decimal
    limit_price: Price
    currency: Currency
    venue: Identifier
    checks: list[Check]
    evidence: Evidence
    expire_time: Micros
    event_time: Micros
    receive_time: Micros
