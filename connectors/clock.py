"""The connectors' clock: the only place from which they read the time."""

from __future__ import annotations

import time

_latest = 0


def now() -> int:
    """UTC, microseconds since the epoch. Never goes back while the process runs: when the time of day is set back it
    stands still until that has caught up, because receive times tell what came first."""
    global _latest
    _latest = max(_latest, wall())
    return _latest


def wall() -> int:
    """UTC as this machine has it now, microseconds since the epoch: for peers, who hold it against clocks of their own.
    Goes back when the time of day is set back, so that it is nothing to order records by."""
    return time.time_ns() // 1000


def steady() -> int:
    """Microseconds that only measure what has passed, whatever is done to the time of day: for waits and silences."""
    return time.monotonic_ns() // 1000
