"""From a row of a file to a tick of one instrument. Pure."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from connectors.market.contract.events import Bad, time_of
from connectors.market.recorded.config import RecordedConfig
from connectors.market.recorded.rows import Moment
from connectors.market.values import TimeFormat, micros_of, moment_of, price_of, sequence_of, size_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
MOST_OTHERS = 10


class Told(NamedTuple):
    """What one row says. ``time``: microseconds. ``sequence``: None where the file has no numbers."""

    instrument: str
    time: int
    bid: float | None
    ask: float | None
    last: float | None
    size: int
    sequence: int | None

    @property
    def quoted(self) -> bool:
        """Whether it tells of the book: then of both sides, and one that is empty has no quote."""
        return self.bid is not None or self.ask is not None

    def after(self, before: Told) -> Told:
        """With what this row does not tell of as it was ``before``: a trade the book, a quote the last trade."""
        bid, ask = (self.bid, self.ask) if self.quoted else (before.bid, before.ask)
        last, size = (before.last, before.size) if self.last is None else (self.last, self.size)
        return self._replace(bid=bid, ask=ask, last=last, size=size)

    @property
    def crossed(self) -> bool:
        """Whether the bid is above the ask, which cannot be."""
        return self.bid is not None and self.ask is not None and self.bid > self.ask


class Reader:
    """Reads rows whose values stand in the order of ``config.columns.named``.

    ``unmet``: names of the settings that no row has had yet. ``others``: names that are not in the settings, in the
    order in which they came, the first ten.
    """

    def __init__(self, config: RecordedConfig) -> None:
        meanings = list(config.columns.named)
        self._place = {meaning: meanings.index(meaning) for meaning in meanings}
        self._instruments = config.instruments
        self._only = config.instrument
        self._form = config.time_format
        self._zone = None if config.zone is None else zoneinfo.ZoneInfo(config.zone)
        self._lot = config.lot
        self.unmet = set(config.instruments)
        self.others: dict[str, None] = {}

    def read(self, values: Sequence[Any]) -> Told | None:
        """What the row says; None for an instrument that is not to be played. Raises Bad."""
        instrument = self._only
        if instrument is None:
            symbol = self._get(values, "instrument")
            if type(symbol) is not str and type(symbol) is not int:
                raise Bad("names no instrument")
            name = str(symbol).strip()
            instrument = self._instruments.get(name)
            if instrument is None:
                if len(self.others) < MOST_OTHERS:
                    self.others[name] = None
                return None
            self.unmet.discard(name)
        bid, ask, last = (self._price(values, side) for side in ("bid", "ask", "last"))
        if bid is None and ask is None and last is None:
            raise Bad("holds no price")
        sequence = None if "sequence" not in self._place else sequence_of(self._get(values, "sequence"))
        return Told(instrument, self._time(values), bid, ask, last, self._size(values), sequence)

    def _get(self, values: Sequence[Any], meaning: str) -> Any:
        """The value; None where the cell is empty or there is no such column."""
        place = self._place.get(meaning)
        said = None if place is None else values[place]
        return None if type(said) is str and not said.strip() else said

    def _price(self, values: Sequence[Any], side: str) -> float | None:
        said = self._get(values, side)
        try:
            return None if said is None else price_of(said)
        except Bad as bad:
            raise Bad(f"{side}: {bad}") from bad

    def _size(self, values: Sequence[Any]) -> int:
        """In lots; 0 (not known) where it is no whole number of them."""
        said = self._get(values, "size")
        if said is None:
            return 0
        lots = size_of(said) / self._lot
        whole = round(lots)
        return whole if abs(lots - whole) < 1e-6 and whole < 2**63 else 0

    def _time(self, values: Sequence[Any]) -> int:
        said = self._get(values, "time")
        if said is None:
            raise Bad("has no time")
        if type(said) is Moment:
            micros = time_of(said.micros)
            return micros if said.zoned else self._on_the_wall((_EPOCH + micros * _MICRO).replace(tzinfo=None))
        if self._form is not TimeFormat.ISO:
            return micros_of(said, self._form)
        when = moment_of(said)
        return self._on_the_wall(when) if when.tzinfo is None else _micros(when)

    def _on_the_wall(self, when: datetime) -> int:
        if self._zone is None:
            raise Bad(f"the time {when} names no zone: say with zone whose it is")
        first, second = when.replace(tzinfo=self._zone), when.replace(tzinfo=self._zone, fold=1)
        if first.utcoffset() != second.utcoffset():
            raise Bad(f"the time {when} is two moments or none in {self._zone.key}: the clocks are changed then")
        return _micros(first)


def _micros(when: datetime) -> int:
    return time_of((when - _EPOCH) // _MICRO)
