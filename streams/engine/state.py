"""State of one task: tables with a committed base, a dirty overlay, and what the batch at hand has put on top.

Three layers, because three things can fail: the batch (its layer is dropped and the records are tried one by one),
the transaction (the overlay is dropped), the worker (everything is rebuilt from the changelog).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

V = TypeVar("V")


class _Gone:
    """Marks a deleted key in a layer."""


GONE = _Gone()
_encode = msgspec.json.Encoder().encode


class Table(Generic[V]):
    """One named table of one task. Values must not be changed in place."""

    def __init__(self, name: str, value: type[V]) -> None:
        self.name = name
        self._decode: Callable[[bytes], V] = msgspec.json.Decoder(value).decode
        self.committed: dict[str, V] = {}
        self.dirty: dict[str, V | _Gone] = {}
        self.fresh: dict[str, V | _Gone] = {}

    def get(self, key: str) -> V | None:
        """The value as of now, the batch at hand included; None when there is none."""
        found: V | _Gone | None = self.fresh.get(key)
        if found is None:
            found = self.dirty.get(key)
            if found is None:
                return self.committed.get(key)
        return None if isinstance(found, _Gone) else found

    def put(self, key: str, value: V) -> None:
        """Set the value."""
        self.fresh[key] = value

    def delete(self, key: str) -> None:
        """Remove the value if it is there."""
        self.fresh[key] = GONE

    def items(self, prefix: str = "") -> Iterator[tuple[str, V]]:
        """Keys that begin with ``prefix``, in order, with their values."""
        merged: dict[str, V | _Gone] = {**self.committed, **self.dirty, **self.fresh}
        for key in sorted(k for k in merged if k.startswith(prefix)):
            value = merged[key]
            if not isinstance(value, _Gone):
                yield key, value

    def keep(self) -> None:
        """The batch succeeded: its layer joins the overlay."""
        if self.fresh:
            self.dirty.update(self.fresh)
            self.fresh.clear()

    def forget(self) -> None:
        """The batch failed: drop its layer."""
        self.fresh.clear()

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Changelog records of the overlay: key ``table/key``, value JSON or None for a deletion."""
        for key, value in self.dirty.items():
            yield f"{self.name}/{key}".encode(), None if isinstance(value, _Gone) else _encode(value)

    def merge(self) -> None:
        """The transaction is committed: the overlay becomes the base."""
        for key, value in self.dirty.items():
            if isinstance(value, _Gone):
                self.committed.pop(key, None)
            else:
                self.committed[key] = value
        self.dirty.clear()

    def abort(self) -> None:
        """The transaction is gone: so is all that was not committed."""
        self.fresh.clear()
        self.dirty.clear()

    def restore(self, key: str, value: bytes | None) -> None:
        """Take one changelog record. Raises ValueError when it does not fit the table's type."""
        if value is None:
            self.committed.pop(key, None)
        else:
            self.committed[key] = self._decode(value)


EVENT = "event"
WALL = "wall"
_ROOM = 1024
"""Entries of a heap before it is looked through for stale ones."""


class Timers:
    """Durable timers: kept in a table of the task, found through a heap that is rebuilt from it."""

    def __init__(self, table: Table[int]) -> None:
        self._table = table
        self._heaps: dict[str, list[tuple[int, str]]] = {EVENT: [], WALL: []}
        self._room = _ROOM

    def at_event(self, key: str, time: int) -> None:
        """Fire when the watermark reaches ``time`` (microseconds)."""
        self._set(EVENT, key, time)

    def at_wall(self, key: str, time: int) -> None:
        """Fire when the recorded wall clock reaches ``time`` (microseconds)."""
        self._set(WALL, key, time)

    def cancel(self, key: str) -> None:
        """Forget the key's timers."""
        for clock in (EVENT, WALL):
            if self._table.get(f"{clock}/{key}") is not None:
                self._table.delete(f"{clock}/{key}")

    def _set(self, clock: str, key: str, time: int) -> None:
        name = f"{clock}/{key}"
        if self._table.get(name) == time:
            return
        self._table.put(name, time)
        heap = self._heaps[clock]
        heapq.heappush(heap, (time, key))
        if len(heap) > self._room:
            # A timer that is put off with every record leaves its old times behind until they are due.
            self.rebuild()

    def next_due(self, clock: str) -> int | None:
        """Earliest time of a clock's timers, or None."""
        heap = self._heaps[clock]
        while heap and self._table.get(f"{clock}/{heap[0][1]}") != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, clock: str, now: int) -> list[str]:
        """Remove and return the keys that are due at ``now``, earliest first, ties by key."""
        due: list[str] = []
        while (first := self.next_due(clock)) is not None and first <= now:
            key = heapq.heappop(self._heaps[clock])[1]
            self._table.delete(f"{clock}/{key}")
            due.append(key)
        return due

    def rebuild(self) -> None:
        """Build the heaps anew from the table: after a restore, and after timers in an overlay were dropped."""
        self._heaps = {EVENT: [], WALL: []}
        for name, time in self._table.items():
            clock, _, key = name.partition("/")
            self._heaps[clock].append((time, key))
        for heap in self._heaps.values():
            heapq.heapify(heap)
        self._room = max(_ROOM, *(2 * len(heap) for heap in self._heaps.values()))

    def forget(self) -> None:
        """The batch failed: drop what it set, cancelled and took."""
        if self._table.fresh:
            self._table.forget()
            self.rebuild()

    def abort(self) -> None:
        """The transaction is gone: so is what was set, cancelled and taken since the last commit."""
        if self._table.fresh or self._table.dirty:
            self._table.abort()
            self.rebuild()


def counters() -> Table[int]:
    """The table in which a task keeps its own numbers: commits, watermark and event times."""
    return Table("__task", int)
