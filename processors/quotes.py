"""The market of one instrument as ticks and gaps have left it; shared by what marks, prices and watches.

A quote is live when its newest tick has a mark and was received no earlier than the newest open gap. Comparing the
two receive times makes the outcome independent of the order in which the two topics were read.
"""

from __future__ import annotations

import msgspec

from schemas.base import Coordinates
from schemas.gaps import Feed, Gap
from schemas.positions import MarkStatus
from schemas.ticks import Tick

AHEAD = 60_000_000
"""A tick whose event time is later than its receive time by more than this (microseconds) is refused: taken at its
word it would stay the newest for ever."""


class Quote(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Newest tick by event time and newest open gap by receive time; a time is 0 when there was none."""

    bid: float | None = None
    ask: float | None = None
    mark: float | None = None
    at: Coordinates | None = None
    event_time: int = 0
    receive_time: int = 0
    gap_at: Coordinates | None = None
    gap_event_time: int = 0
    gap_time: int = 0
    gap_reason: str = ""

    @property
    def status(self) -> MarkStatus:
        """Whether the mark can be trusted."""
        if self.gap_time > self.receive_time:
            return MarkStatus.UNKNOWN
        return MarkStatus.NONE if self.mark is None else MarkStatus.LIVE

    @property
    def why(self) -> str:
        """Why there is no live mark; empty when there is one."""
        if self.gap_time > self.receive_time:
            return f"the tick feed has an open gap ({self.gap_reason}) and no tick was received after it"
        if self.at is None:
            return "no tick was received yet"
        return "" if self.mark is not None else "the newest tick has neither both sides nor a last trade"


NOTHING = Quote()


def after_tick(quote: Quote, tick: Tick, at: Coordinates) -> Quote:
    """The quote after ``tick``; the same object when the tick is older than the one it has."""
    if tick.event_time < quote.event_time:
        return quote
    return Quote(
        bid=tick.bid,
        ask=tick.ask,
        mark=tick.mark,
        at=at,
        event_time=tick.event_time,
        receive_time=tick.receive_time,
        gap_at=quote.gap_at,
        gap_event_time=quote.gap_event_time,
        gap_time=quote.gap_time,
        gap_reason=quote.gap_reason,
    )


def after_gap(quote: Quote, gap: Gap, at: Coordinates) -> Quote:
    """The quote after ``gap``; the same object when the gap is of another feed, closed, or older than one it has.

    A closed gap says that the missing came late, not that the price is fresh: only a tick makes it live again.
    """
    if gap.feed is not Feed.TICKS or not gap.open or gap.receive_time <= quote.gap_time:
        return quote
    return msgspec.structs.replace(
        quote, gap_at=at, gap_event_time=gap.event_time, gap_time=gap.receive_time, gap_reason=gap.reason.value
    )


def too_far_ahead(tick: Tick) -> str:
    """Why a tick's event time cannot be believed; empty when it can."""
    if tick.event_time <= tick.receive_time + AHEAD:
        return ""
    ahead = (tick.event_time - tick.receive_time) // 1_000_000
    return f"event_time is {ahead} s later than receive_time; at most {AHEAD // 1_000_000} s can be believed"
