"""Position and P&L per book and instrument."""

from __future__ import annotations

import enum
from decimal import Decimal

from schemas.base import Coordinates, Count, Currency, Identifier, Micros, Price, Record, Unit, Value


class MarkStatus(enum.StrEnum):
    """Whether the mark can be trusted.

    ``unknown``: the feed has an open gap; ``none``: no tick yet, or the newest has neither two sides nor a last trade.
    """

    LIVE = "live"
    UNKNOWN = "unknown"
    NONE = "none"


class Position(Record, frozen=True, kw_only=True):
    """Holding of one book in one instrument. Keyed by book and instrument, partitioned by book.

    Booked and exact: ``quantity`` (signed, in ``unit``), ``average_price`` (average cost method, shown to 10
    decimals), ``realised_pnl`` (before fees) and ``fees``, in ``currency``. Marked: ``mark``, ``market_value`` =
    quantity x mark, ``unrealised_pnl`` = quantity x (mark - average price); null unless ``mark_status`` is ``live``.
    ``marked_by`` and ``booked_by`` are the coordinates of the tick and of the last fill; the two times are those of the
    newest tick, fill or gap behind the record.
    """

    book: Identifier
    instrument: Identifier
    currency: Currency
    unit: Unit = ""
    quantity: Decimal
    average_price: Decimal
    realised_pnl: Decimal
    fees: Decimal
    fills: Count
    mark: Price | None
    mark_status: MarkStatus
    market_value: Value | None
    unrealised_pnl: Value | None
    marked_by: Coordinates | None
    booked_by: Coordinates | None
    event_time: Micros
    receive_time: Micros
