"""What can be traded: written into every partition of a compacted control topic."""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Currency, Identifier, Micros, Record, Text, Unit


class Instrument(Record, frozen=True, kw_only=True):
    """A tradable instrument. Prices are in ``currency`` per ``unit``; quantities are in ``unit``."""

    instrument: Identifier
    name: Text
    currency: Currency
    unit: Unit
    lot_size: Decimal
    venue: Identifier
    event_time: Micros
    receive_time: Micros
