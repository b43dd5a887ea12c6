"""How many ticks are due. Pure: the time is passed in."""

from __future__ import annotations

MOST_BEHIND = 1.0
"""Seconds that are caught up with after a stall; beyond that the rhythm begins anew, instead of bursting."""
CHUNK = 500
"""Most ticks at once, so that stopping and watching are never far."""


class Pace:
    """``per_second``: ticks per second in all; None: as many as fit. ``now``: any steady clock, seconds."""

    def __init__(self, per_second: float | None, now: float) -> None:
        self._interval = None if per_second is None else 1.0 / per_second
        self._due = now

    def wait(self, now: float) -> float:
        """Seconds until a tick is due; 0 when one is."""
        return 0.0 if self._interval is None else max(0.0, self._due - now)

    def take(self, now: float) -> int:
        """How many ticks are due by ``now``; they count as sent."""
        if self._interval is None:
            return CHUNK
        self._due = max(self._due, now - MOST_BEHIND)
        if self._due > now:
            return 0
        count = min(int((now - self._due) / self._interval) + 1, CHUNK)
        self._due += count * self._interval
        return count
