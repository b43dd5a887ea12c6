"""When a recorded tick is due, and as of when it is played. Pure: times are passed in, microseconds."""

from __future__ import annotations

MOST_BEHIND = 1_000_000
"""What is caught up with after a stall; beyond that the rhythm begins anew, instead of bursting."""


class Staging:
    """The pace of one recording. ``speed``: None for as fast as possible. ``longest_pause``: of the playing."""

    def __init__(self, speed: float | None, longest_pause: int | None) -> None:
        self._speed = speed
        self._longest = longest_pause
        self._newest: int | None = None
        self._due = 0
        self._played: dict[str, tuple[int, int]] = {}

    def due(self, recorded: int, now: int) -> int:
        """When to play what was recorded then, on the clock of ``now``. Ask once for each tick, in their order.

        What is older than one before it is due at once.
        """
        newest, self._newest = self._newest, recorded if self._newest is None else max(self._newest, recorded)
        if newest is None or self._speed is None:
            self._due = now
        elif recorded > newest:
            step = round((recorded - newest) / self._speed)
            step = step if self._longest is None else min(step, self._longest)
            self._due = max(self._due + step, now - MOST_BEHIND)
        return self._due

    def played(self, instrument: str, recorded: int, now: int) -> int:
        """As of when a tick counts that is played ``now``. For an instrument that rises strictly, but what was recorded
        before the ticks that it follows stays before the newest of them."""
        newest, shown = self._played.get(instrument, (recorded, 0))
        if recorded < newest:
            return shown - max(1, round((newest - recorded) / (self._speed or 1.0)))
        self._played[instrument] = recorded, max(now, shown + 1)
        return self._played[instrument][1]
