"""When a market trades, from the kept calendars of exchange-calendars; so that a closed market is not called silent."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Protocol


class Hours(Protocol):
    """Trading hours."""

    def open_since(self, now: int) -> int | None:
        """When the session at ``now`` began, microseconds; None while the market is closed."""


class Always:
    """Trades around the clock, as intraday power does."""

    def open_since(self, now: int) -> int | None:
        """The epoch: never closed."""
        return 0


ALWAYS = Always()


class Spans:
    """Trades within given times. ``opens`` and ``closes``: microseconds, ascending, of the same length."""

    def __init__(self, opens: Sequence[int], closes: Sequence[int]) -> None:
        if len(opens) != len(closes) or any(start >= end for start, end in zip(opens, closes, strict=True)):
            raise ValueError("every opening needs a closing after it")
        self._opens = opens
        self._closes = closes

    def open_since(self, now: int) -> int | None:
        """When the session at ``now`` began; None before, between and after the sessions."""
        place = bisect_right(self._opens, now) - 1
        return self._opens[place] if place >= 0 and now < self._closes[place] else None


def hours_of(calendar: str) -> Hours:
    """The sessions of an exchange by its code: XEUR, IEPA (ICE Futures Europe), CMES, XNYS, 24/7, …

    Breaks at noon count as closed. The library knows a year ahead; make it anew at every start. Raises ValueError for
    an unknown code and ImportError when the library is not installed.
    """
    if calendar == "24/7":
        return ALWAYS
    # Loads pandas: a second and 60 MB that only those pay who name a calendar.
    from exchange_calendars import errors, get_calendar
    from pandas import notna

    try:
        found = get_calendar(calendar)
    except errors.InvalidCalendarName:
        raise ValueError(f"there is no calendar {calendar!r}; expected a code such as XEUR, IEPA, CMES, 24/7") from None
    opens: list[int] = []
    closes: list[int] = []
    for session in found.schedule.itertuples(index=False):
        opens.append(_micros(session.open))
        if notna(session.break_start):
            closes.append(_micros(session.break_start))
            opens.append(_micros(session.break_end))
        closes.append(_micros(session.close))
    return Spans(opens, closes)


def _micros(time: Any) -> int:
    return int(time.value) // 1000  # pandas' Timestamp, nanoseconds
