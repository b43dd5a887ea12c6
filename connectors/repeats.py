"""What fails again and again is logged when it begins, when its reason changes, and then at growing intervals.

Each of thousands of attempts of a night would bury the one line that matters. The metrics still count every one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import structlog

from connectors import clock

log = structlog.get_logger(__name__)
FIRST = 60_000_000
"""Microseconds after which the same thing is logged again; the next time after twice as long."""
LONGEST = 3_600_000_000
QUIET = 600_000_000
"""Microseconds without it after which it is a first time again, unless it is known before that it :meth:`ended`."""
_KINDS = 16  # reasons that are told apart; a source that makes up new ones has them share the last place
_CHANGING = re.compile(r"\d+(?:\.\d+)?")


@dataclass(slots=True)
class _Told:
    """``times``: since it was logged last. ``last``: when it happened last, ``due``: when it is logged again."""

    times: int
    last: int
    due: int
    interval: int


class Repeats:
    """When the same thing is to be logged again. Another number in its reason does not make it another one.

    Used from one thread.
    """

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def again(self, *what: str) -> dict[str, int] | None:
        """It has happened: None when that was logged lately, otherwise what to log with it.

        That is how many ``times`` it happened since the last line, this one included; nothing if it is the only one.
        """
        kind, now = _CHANGING.sub("#", "\0".join(what)), clock.steady()
        if kind not in self._told and len(self._told) >= _KINDS:
            kind = ""
        told = self._told.get(kind)
        if told is None:
            self._told[kind] = _Told(0, now, now + FIRST, FIRST)
            return {}
        told.times += 1
        quiet, told.last = now - told.last > QUIET, now
        if now < told.due and not quiet:
            return None
        times, told.times = told.times, 0
        told.interval = FIRST if quiet else min(2 * told.interval, LONGEST)
        told.due = now + told.interval
        return {"times": times} if times > 1 else {}

    def ended(self) -> None:
        """It went well for a while: whatever comes next is a first time."""
        self._told.clear()


class Seldom:
    """In place of a logger for a client library, which complains of each attempt by itself. Used from one thread.

    ``client``: whose words they are; what else is given stands beside them.
    """

    def __init__(self, client: str, **beside: str) -> None:
        self._client = client
        self._beside = beside
        self._repeats = Repeats()

    def log(self, level: int, message: str, *values: object) -> None:
        """As that of :class:`logging.Logger`."""
        words = message % values
        if (again := self._repeats.again(words)) is not None:
            log.log(level, f"the {self._client} client complains", words=words, **self._beside, **again)
