"""Synthetic ticks around real closes: a seeded Brownian bridge from each close to the next, and quotes around it.

Pure: the same seed gives the same quotes. Changes are additive, not relative, because prices may be zero or negative.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import log
from typing import NamedTuple

from connectors.market.prices import Close

LOOKBACK = 20
"""Trading days whose close-to-close changes set the size of a day's own movement."""
MEAN_SIZE = 5.0
"""Mean quantity of the last trade, in lots."""


class Quote(NamedTuple):
    """Top of book on the tick grid, the last trade and its size in lots."""

    bid: float
    ask: float
    last: float
    size: int


def bridge(start: float, end: float, steps: int, deviation: float, rng: random.Random) -> list[float]:
    """``steps`` + 1 mid prices: the first is exactly ``start``, the last exactly ``end``.

    ``deviation``: standard deviation of the free walk over all steps, in price units. Raises ValueError when
    ``steps`` is below 1 or a number is not finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    if not (math.isfinite(start) and math.isfinite(end) and math.isfinite(deviation)) or deviation < 0:
        raise ValueError(
            f"start {start}, end {end} and deviation {deviation} must be finite, the deviation not below 0"
        )
    step = deviation / math.sqrt(steps)
    walk = [0.0]
    position = 0.0
    for _ in range(steps):
        position += rng.gauss(0.0, step)
        walk.append(position)
    # What is left at the end is taken away evenly, which makes the free walk a bridge.
    slope = (end - start - position) / steps
    path = [start + slope * index + value for index, value in enumerate(walk)]
    path[-1] = end
    return path


def deviation_at(closes: Sequence[Close], index: int) -> float:
    """Root mean square of the last LOOKBACK close-to-close changes up to ``index``, in price units."""
    first = max(1, index - LOOKBACK + 1)
    changes = [closes[i].price - closes[i - 1].price for i in range(first, index + 1)]
    return math.sqrt(math.fsum(change * change for change in changes) / len(changes)) if changes else 0.0


class Grid:
    """The prices that exist: whole multiples of the tick size, as the float64 nearest to the exact decimal."""

    def __init__(self, tick_size: Decimal, spread_ticks: int) -> None:
        if not (tick_size.is_finite() and tick_size > 0) or spread_ticks < 0:
            raise ValueError(
                f"tick size {tick_size} must be above 0 and the spread of {spread_ticks} ticks not below 0"
            )
        exponent = tick_size.as_tuple().exponent
        self._digits = max(0, -exponent) if isinstance(exponent, int) else 0
        self._tick = float(tick_size)
        self._spread = spread_ticks

    def quote(self, mid: float, size: int) -> Quote:
        """Bid and ask ``spread_ticks`` apart around ``mid``; the last trade is the price nearest to ``mid``."""
        tick, digits = self._tick, self._digits
        at = mid / tick
        bid = round(at - self._spread / 2)
        ask = bid + self._spread
        return Quote(round(bid * tick, digits), round(ask * tick, digits), round(round(at) * tick, digits), size)


def quotes(
    closes: Sequence[Close], grid: Grid, *, steps: int, rng: random.Random, first: int = 0, loop: bool = False
) -> Iterator[Quote]:
    """Quotes from ``closes[first]`` on, ``steps`` for each following day; the last of a day stands at its close.

    With ``loop`` it begins anew after the last close. Raises ValueError when no close follows ``first``.
    """
    if not 0 <= first < len(closes) - 1:
        raise ValueError(f"there is no close after number {first} of {len(closes)}")
    while True:
        for index in range(first + 1, len(closes)):
            path = bridge(closes[index - 1].price, closes[index].price, steps, deviation_at(closes, index), rng)
            for mid in path[1:]:
                yield grid.quote(mid, 1 + int(-log(1.0 - rng.random()) * MEAN_SIZE))  # exponential sizes
        if not loop:
            return
