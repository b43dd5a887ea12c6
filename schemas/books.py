"""Order books: the best levels of one instrument, and whether they can be trusted."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from schemas.base import Count, Identifier, Micros, Price, Record, Text


class BookState(enum.StrEnum):
    """How far the levels can be trusted.

    ``live``: complete and in order. ``locked``: the best bid equals the best ask. ``crossed``: the best bid is above
    the best ask. ``stale``: nothing came for longer than expected while the market trades. ``unknown``: something is
    missing and no snapshot has come yet; the levels are empty.
    """

    LIVE = "live"
    LOCKED = "locked"
    CROSSED = "crossed"
    STALE = "stale"
    UNKNOWN = "unknown"


class Trading(enum.StrEnum):
    """What the venue says about its session; ``unknown`` where it says nothing."""

    UNKNOWN = "unknown"
    OPEN = "open"
    AUCTION = "auction"
    HALTED = "halted"
    CLOSED = "closed"


class Level(Record, frozen=True, kw_only=True):
    """What is quoted at one price. ``size``: in the venue's own quantity, not negative."""

    price: Price
    size: Annotated[float, Meta(ge=0, le=1e18)]


class Book(Record, frozen=True, kw_only=True):
    """The best levels, from the best outwards. Keyed by instrument; conflated, so levels in between may be left out.

    ``sequence`` counts the books of the instrument from 1 since the connection began. ``event_time`` is that of the
    newest message in it.
    """

    instrument: Identifier
    venue: Identifier
    bids: list[Level]
    asks: list[Level]
    state: BookState
    trading: Trading
    reason: Text = ""
    sequence: Count
    event_time: Micros
    receive_time: Micros
