"""Windows in event time, for any processor: what belongs together, when it is complete, and what came too late for it.

A processor declares the table, makes the part in its first batch, adds records in ``on_batch`` and asks in ``on_time``
what is complete. A window is complete when the watermark has reached its end and ``grace`` beyond; a record that comes
after that is late: it is not taken, and the processor decides where to put it (a side output).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from processors.processor import Table, Timers

A = TypeVar("A")


class Span(NamedTuple):
    """``start <= time < end``, microseconds."""

    start: int
    end: int


class Complete(NamedTuple, Generic[A]):
    """A window to which nothing will be added any more."""

    key: str
    span: Span
    value: A


class Hopping:
    """Windows of ``size`` that begin every ``step`` (microseconds): a record is in ``size / step`` of them."""

    def __init__(self, size: int, step: int) -> None:
        """Raises ValueError unless ``0 < step <= size``: some records would be in no window."""
        if not 0 < step <= size:
            raise ValueError(f"windows of {size} that begin every {step} leave out some of the time")
        self.size = size
        self.step = step

    def of(self, time: int) -> list[Span]:
        """The windows that a time is in, the earliest first."""
        newest = time // self.step * self.step
        starts = range(newest, time - self.size, -self.step)
        return [Span(start, start + self.size) for start in reversed(starts) if start >= 0]


class Tumbling(Hopping):
    """Windows of ``size`` one after the other: a record is in one of them."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)


class Windows(Generic[A]):
    """Tumbling or hopping windows of each key. ``name`` tells their timers from others of the processor."""

    def __init__(self, name: str, table: Table[A], timers: Timers, shape: Hopping, *, grace: int = 0) -> None:
        self._name = f"{name}:"
        self._table = table
        self._timers = timers
        self._shape = shape
        self._grace = grace

    def add(self, key: str, time: int, fold: Callable[[A | None], A]) -> list[Span]:
        """Fold a record into its windows; return those that it came too late for."""
        late = []
        for span in self._shape.of(time):
            if span.end + self._grace <= self._timers.watermark:
                late.append(span)
                continue
            row = row_of(key, span.start)
            before = self._table.get(row)
            self._table.put(row, fold(before))
            if before is None:
                self._timers.at_event(self._name + row, span.end + self._grace)
        return late

    def complete(self, timer: str) -> Complete[A] | None:
        """The window whose timer has fired, which is then forgotten; None when it is not a timer of these windows."""
        row = timer.removeprefix(self._name)
        value = self._table.get(row) if timer.startswith(self._name) else None
        if value is None:
            return None
        self._table.delete(row)
        key, start = parted(row)
        return Complete(key, Span(start, start + self._shape.size), value)


class Session(msgspec.Struct, Generic[A], frozen=True):
    """Records of a key with less than the gap between any two neighbours; ``last`` is the newest one's time."""

    last: int
    value: A


class Sessions(Generic[A]):
    """Session windows of each key: a silence of ``gap`` ends one. ``merge`` joins two that a record connects."""

    def __init__(
        self,
        name: str,
        table: Table[Session[A]],
        timers: Timers,
        gap: int,
        merge: Callable[[A, A], A],
        *,
        grace: int = 0,
    ) -> None:
        self._name = f"{name}:"
        self._table = table
        self._timers = timers
        self._gap = gap
        self._merge = merge
        self._grace = grace

    def add(self, key: str, time: int, fold: Callable[[A | None], A]) -> bool:
        """Fold a record into its session; whether it came too late for any."""
        start, last, value = time, time, None
        for row, session in list(self._near(key, time)):
            begun = parted(row)[1]
            start, last = min(start, begun), max(last, session.last)
            value = session.value if value is None else self._merge(session.value, value)
            self._table.delete(row)
            self._timers.cancel(self._name + row)
        if value is None and time + self._gap + self._grace <= self._timers.watermark:
            return True
        row = row_of(key, start)
        self._table.put(row, Session(last, fold(value)))
        self._timers.at_event(self._name + row, last + self._gap + self._grace)
        return False

    def complete(self, timer: str) -> Complete[A] | None:
        """The session whose timer has fired, which is then forgotten; None when it is not a timer of these.

        Its span ends ``gap`` after its last record.
        """
        row = timer.removeprefix(self._name)
        session = self._table.get(row) if timer.startswith(self._name) else None
        if session is None:
            return None
        self._table.delete(row)
        key, start = parted(row)
        return Complete(key, Span(start, session.last + self._gap), session.value)

    def _near(self, key: str, time: int) -> list[tuple[str, Session[A]]]:
        """Sessions of the key that begin or end less than the gap from a time, the newest first."""
        found = []
        low, high = row_of(key, 0), row_of(key, time + self._gap)
        for row, session in self._table.range(low, high, reverse=True):
            if session.last + self._gap <= time:
                break
            found.append((row, session))
        return found


def row_of(key: str, time: int) -> str:
    """A table's key of a record's key and a time, so that the order of the table is that of time."""
    return f"{key}|{time:020d}"


def parted(row: str) -> tuple[str, int]:
    """The inverse of :func:`row_of`."""
    key, _, time = row.rpartition("|")
    return key, int(time)
