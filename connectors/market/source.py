"""What stands in for an exchange: one instrument's quotes, numbered, sent over a line that may be bad. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from connectors.market.bridge import Grid, Quote, quotes
from connectors.market.config import MarketConfig, MarketInstrument
from connectors.market.faults import Line
from connectors.market.prices import read_closes


class Sent(NamedTuple):
    """One message of the feed. ``event_time``: when it was sent, microseconds."""

    sequence: int
    event_time: int
    quote: Quote


class Source:
    """The feed of one instrument. ``silences``: from and until when nothing is sent, microseconds since the epoch."""

    def __init__(
        self, config: MarketInstrument, prices: Iterator[Quote], line: Line[Sent], silences: list[tuple[int, int]]
    ) -> None:
        self.instrument = config.instrument
        self.venue = config.venue
        self.made = 0
        """Prices made so far, sent or not."""
        self.received = 0
        """Messages that arrived and are not yet in the metrics; kept by the receiver."""
        self._prices = prices
        self._line = line
        self._silences = silences
        self._sequence = 0
        self._event_time = 0

    def next(self, now: int) -> list[Sent]:
        """What arrives at ``now``: often one message; none while silent or lost. Raises StopIteration at the end.

        Event times rise strictly, so that an older message can always be told from a newer one.
        """
        quote = next(self._prices)
        self.made += 1
        if self._silences and any(since <= now < until for since, until in self._silences):
            return []
        self._sequence += 1
        self._event_time = max(now, self._event_time + 1)
        return self._line.send(Sent(self._sequence, self._event_time, quote))

    def end(self) -> list[Sent]:
        """What was still on its way when the feed ended."""
        return self._line.end()


def sources(config: MarketConfig, now: int) -> list[Source]:
    """One source per instrument; the same seed gives the same prices and faults. Raises PricesError.

    ``now``: the start, microseconds, from which silences are counted.
    """
    return [_source(config, one, now) for one in config.instruments]


def _source(config: MarketConfig, one: MarketInstrument, now: int) -> Source:
    closes = read_closes(one.path)
    first = 0 if config.start is None else next(i for i, close in enumerate(closes) if close.day >= config.start)
    # Generators of its own: an instrument's prices depend neither on what else is replayed nor on faults.
    prices = random.Random(f"{config.seed}/prices/{one.instrument}")  # noqa: S311 - reproducible on purpose
    faults = random.Random(f"{config.seed}/faults/{one.instrument}")  # noqa: S311 - reproducible on purpose
    grid = Grid(one.tick_size, one.spread_ticks)
    return Source(
        one,
        quotes(closes, grid, steps=config.ticks_per_day, rng=prices, first=first, loop=config.loop),
        Line(faults, delete=config.faults.delete, duplicate=config.faults.duplicate, swap=config.faults.swap),
        [(now + s.after, now + s.after + s.lasts) for s in config.silences if s.instrument == one.instrument],
    )
