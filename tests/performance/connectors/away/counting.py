"""Sources that count up on a fixed timetable, and what of their numbers is in Kafka."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from connectors import clock
from schemas.fills import Fill
from schemas.gaps import Gap
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from tests.performance.connectors.figures import Figure

FRESH = 5_000_000
"""Microseconds: what is younger is of now."""
_PLACES = 100
Found = Telemetry | Tick | Fill | Gap


class Source(Protocol):
    """Something that a connector reads while Kafka is away."""

    def running(self, folder: Path) -> AbstractContextManager[None]:
        """The other side of the connector, while the block lasts."""

    def settings(self) -> dict[str, Any]:
        """Sections of the connectors' settings; asked for while it runs."""

    def take(self, record: Found) -> None:
        """A record in Kafka, whosever it is."""

    def complete(self) -> bool:
        """All that must come has come, and what goes on is fresh."""

    def figures(self) -> list[Figure]:
        """What is missing, and what is wrong."""


class Timetable(NamedTuple):
    """Number n is due at ``start`` + n x ``step``, in microseconds."""

    start: int
    step: int

    def due(self, number: int) -> int:
        """When it is said; a source that is held up says it later, under this time."""
        return self.start + number * self.step

    def numbers(self, first: int | None = None) -> Iterator[int]:
        """Each once it is due, from ``first`` or from the next on."""
        begin = (clock.now() - self.start) // self.step + 1 if first is None else first
        for number in count(begin):
            time.sleep(max(0.0, (self.due(number) - clock.now()) / 1e6))
            yield number


def timetable(step: int) -> Timetable:
    """One that begins now, on a whole second: no protocol rounds its times."""
    return Timetable(clock.now() // 1_000_000 * 1_000_000, step)


def said(number: int, place: int) -> int:
    """The value that says whose number it is: one under a wrong name is seen."""
    return number * _PLACES + place


class Counted:
    """What is in Kafka of streams that say :func:`said`. ``places``: of each stream, by its name.

    ``group``: whose gaps speak of all streams (a device's of its points); without it each has its own.
    """

    def __init__(self, table: Timetable, places: Iterable[str], group: str | None = None) -> None:
        self._table = table
        self._group = group
        self._places = {name: place for place, name in enumerate(places)}
        self._numbers: dict[str, list[tuple[int, int]]] = {name: [] for name in self._places}
        self._newest = dict.fromkeys(self._places, 0)
        self._opened: dict[str, list[int]] = defaultdict(list)
        self.wrong = 0

    def take(self, name: str, value: float, record: Telemetry | Tick) -> None:
        """A value of the stream ``name``."""
        number, place = divmod(round(value), _PLACES)
        if place != self._places[name] or record.event_time != self._table.due(number):
            self.wrong += 1
            return
        self._numbers[name].append((record.receive_time, number))
        self._newest[name] = max(self._newest[name], record.event_time)

    def gap(self, gap: Gap) -> None:
        """A gap of anybody's."""
        if gap.open and gap.key in ({self._group} if self._group else self._places):
            self._opened[gap.key].append(gap.receive_time)

    def complete(self) -> bool:
        """Every stream is fresh."""
        return min(self._newest.values()) > clock.now() - FRESH

    def figures(self, what: str) -> list[Figure]:
        """Numbers missing, with a gap recorded in between and without one."""
        told = untold = 0
        for name, numbers in self._numbers.items():
            opened = sorted(self._opened[self._group or name])
            numbers.sort()
            for (before, number), (after, following) in pairwise(numbers):
                missing = max(0, following - number - 1)
                if bisect_right(opened, before) < bisect_right(opened, after):
                    told += missing
                else:
                    untold += missing
        return [
            Figure(what=f"{what} missing, within recorded gaps", value=told, unit=""),
            Figure(what=f"{what} missing, of which no gap tells", value=untold, unit="", most=0),
            Figure(what=f"{what} under a wrong name or time", value=self.wrong, unit="", most=0),
        ]


class Books:
    """A venue's books whose best bids count, each five times a second. ``symbols``: in the order of their places."""

    def __init__(self, venue: str, symbols: Iterable[str], what: str) -> None:
        self._table = timetable(200_000)
        self._counted = Counted(self._table, symbols)
        self._venue = venue
        self._what = what

    def take(self, record: Found) -> None:
        """A best bid says its number."""
        if isinstance(record, Gap):
            self._counted.gap(record)
        elif isinstance(record, Tick) and record.venue == self._venue:
            self._counted.take(record.instrument, record.bid or 0.0, record)

    def complete(self) -> bool:
        """Every book is that of now."""
        return self._counted.complete()

    def figures(self) -> list[Figure]:
        """Of its changes."""
        return self._counted.figures(self._what)
