"""Tables whose values expire: State(..., ttl=...).

Time is that of the log: Kafka's timestamps of the records that the task was fed. An event time would let one record
with a wrong clock forget everything (brokers since 4.0 refuse a timestamp more than an hour ahead); a wall clock would
not replay. When a value expires is kept with it, so it is in the changelog, and its end is a deletion there like any
other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from streams.engine.state import Table

V = TypeVar("V")
_STEPS = 1000
"""A value may live longer than its ttl by this part of it: values that expire together are found together."""
_AT_ONCE = 1000
"""Values that one commit lets expire at most, so that no commit grows without bound."""


class Dated(msgspec.Struct, Generic[V], array_like=True, frozen=True, gc=False):
    """A value and when it expires, microseconds."""

    until: int
    value: V


def until_of(dated: Dated[Any]) -> int:
    """When a value expires."""
    return dated.until


class Expiring(Generic[V]):
    """A table as the processor sees it; ``table`` is what the engine commits. Writing a value renews its term."""

    def __init__(self, table: Table[Dated[V]], ttl: int) -> None:
        self.table = table
        self.step = max(1, ttl // _STEPS)
        self.now = 0
        self._ttl = ttl
        self._next = 0
        self._swept = 0

    def get(self, key: str) -> V | None:
        """The value, or None."""
        found = self.table.get(key)
        return None if found is None else found.value

    def put(self, key: str, value: V) -> None:
        """Set the value; it stays for ``ttl`` from now on."""
        until = (self.now + self._ttl) // self.step * self.step + self.step
        self.table.put(key, Dated(until, value))

    def delete(self, key: str) -> None:
        """Remove the value if it is there."""
        self.table.delete(key)

    def items(self, prefix: str = "") -> Iterator[tuple[str, V]]:
        """Keys that begin with ``prefix``, in order, with their values."""
        return ((key, dated.value) for key, dated in self.table.items(prefix))

    def range(self, start: str = "", end: str | None = None, *, reverse: bool = False) -> Iterator[tuple[str, V]]:
        """Keys of ``start <= key < end`` in order, or in reverse, with their values."""
        return ((key, dated.value) for key, dated in self.table.range(start, end, reverse=reverse))

    def sweep(self) -> None:
        """Delete what has expired by ``now``, up to a bound in each commit."""
        if self.now < self._next or self._swept >= _AT_ONCE:
            return
        for key in self.table.committed.due(self.now):
            if key in self.table.dirty or key in self.table.fresh:
                continue  # renewed or gone since the last commit
            if self._swept >= _AT_ONCE:
                return
            self.table.delete(key)
            self._swept += 1
        self._next = self.now // self.step * self.step + self.step

    def begin(self, now: int) -> None:
        """A commit or an abort has ended what was: the table says again what is there, and the time is ``now``."""
        self.now = now
        self._next = self._swept = 0
