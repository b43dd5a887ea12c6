"""How an instrument is to be read, and what comes of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

from connectors.market.contract.hours import ALWAYS, Hours
from schemas.base import Record
from schemas.topics import Topic


class Content(enum.StrEnum):
    """What the venue sends of an instrument: a ``book`` (its ticks wait for the snapshot), or ``trades`` only."""

    BOOK = "book"
    TRADES = "trades"


class Scope(enum.StrEnum):
    """What a sequence number counts: messages of one instrument, or of the whole connection."""

    INSTRUMENT = "instrument"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Spec:
    """How one instrument is read. Times are microseconds.

    ``lot``: what one unit of a tick's ``size`` is in the venue's quantity. ``stale_after``: while the market trades,
    nothing for so long is a silence; None: not watched. ``clock_tolerance``: how far the venue's clock may be ahead of
    ours or go back. ``depth``: levels per side in ``books``, 0 for none, at most every ``depth_interval``.
    """

    instrument: str
    venue: str
    content: Content = Content.BOOK
    lot: float = 1.0
    stale_after: int | None = None
    hours: Hours = ALWAYS
    clock_tolerance: int = 10_000_000
    depth: int = 0
    depth_interval: int = 100_000


class Out(NamedTuple):
    """A record to write, in this order. ``identity``: its ``ce_id``."""

    topic: Topic[Any]
    key: str
    record: Record
    identity: str
