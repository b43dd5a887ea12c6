"""Durable timers of one task: one time per key and clock, in a table that is committed with everything else."""

from __future__ import annotations

import heapq

from streams.engine.state import Table

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
        self.watermark = 0
        """The task's watermark before what is being processed."""

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
