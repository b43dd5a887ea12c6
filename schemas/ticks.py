"""Market ticks: top of book and last trade of one instrument."""

from __future__ import annotations

from schemas.base import Count, Micros, Name, Price, Record


class Tick(Record, frozen=True, kw_only=True):
    """Best bid and offer and last trade. A side that has no quote is null, and is never filled in.

    Keyed by instrument. ``sequence`` counts the feed's messages per instrument, from 1, without holes.
    """

    instrument: Name
    venue: Name
    bid: Price | None
    ask: Price | None
    last: Price | None = None
    size: Count = 0
    sequence: Count
    event_time: Micros
    receive_time: Micros

    @property
    def mark(self) -> float | None:
        """Mid price when both sides are quoted, otherwise the last trade, otherwise None (no mark)."""
        if self.bid is not None and self.ask is not None:
            return (self.bid + self.ask) * 0.5
        return self.last
