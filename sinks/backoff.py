"""Growing, jittered waits between attempts."""

from __future__ import annotations

import random

FIRST = 0.5
CEILING = 60.0


def delay(attempt: int, *, first: float = FIRST, ceiling: float = CEILING) -> float:
    """Seconds to wait after the failed attempt number ``attempt``, from 1: half to whole of a base that doubles."""
    base = min(first * 2.0 ** min(attempt - 1, 30), ceiling)
    return random.uniform(base / 2, base)  # noqa: S311 - spreads load, guards nothing
