"""As-of join: a record beside the value of another input that was valid at its event time, whatever arrived first."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from processors.processor import Table, Timers
from processors.windows import parted, row_of

L = TypeVar("L")
R = TypeVar("R")


class Matched(NamedTuple, Generic[L, R]):
    """A record, the value that was valid at its time, and since when; None when there was none."""

    key: str
    record: L
    value: R | None
    since: int | None


class AsOf(Generic[L, R]):
    """Values with their history on one side, records that wait for their time to be complete on the other.

    ``values`` keeps what was valid within ``keep`` microseconds before the watermark. A record waits in ``waiting``
    until the watermark has passed its time, so that no value of an earlier time is missed; one that is older than what
    is kept is late. ``name`` tells the timers from others of the processor.
    """

    def __init__(self, name: str, values: Table[R], waiting: Table[list[L]], timers: Timers, keep: int) -> None:
        self._name = f"{name}:"
        self._values = values
        self._waiting = waiting
        self._timers = timers
        self._keep = keep

    def learn(self, key: str, time: int, value: R) -> bool:
        """``value`` is valid from ``time`` on; of several with the same time the last. Whether it came too late."""
        if time < self._timers.watermark - self._keep:
            return True
        self._values.put(row_of(key, time), value)
        self._prune(key)
        return False

    def ask(self, key: str, time: int, record: L) -> bool:
        """Match ``record`` as soon as all of its time is known. Whether it came too late."""
        if time < self._timers.watermark - self._keep:
            return True
        row = row_of(key, time)
        self._waiting.put(row, [*(self._waiting.get(row) or []), record])
        self._timers.at_event(self._name + row, time + 1)
        return False

    def matched(self, timer: str) -> list[Matched[L, R]]:
        """The records whose timer has fired, in the order they came; none when it is not a timer of this join."""
        row = timer.removeprefix(self._name)
        records = self._waiting.get(row) if timer.startswith(self._name) else None
        if records is None:
            return []
        self._waiting.delete(row)
        key, time = parted(row)
        since, value = self.valid(key, time)
        return [Matched(key, record, value, since) for record in records]

    def valid(self, key: str, time: int) -> tuple[int | None, R | None]:
        """What is known to have been valid at a time, and since when."""
        for row, value in self._values.range(row_of(key, 0), row_of(key, time + 1), reverse=True):
            return parted(row)[1], value
        return None, None

    def _prune(self, key: str) -> None:
        """Forget what had been replaced by the time from which on values are kept."""
        horizon = self._timers.watermark - self._keep
        if horizon <= 0:
            return
        old = [row for row, _ in self._values.range(row_of(key, 0), row_of(key, horizon + 1))]
        for row in old[:-1]:
            self._values.delete(row)
