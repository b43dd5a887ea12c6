"""State of one task: tables with a committed base, a dirty overlay, and what the batch at hand has put on top.

Three layers, because three things can fail: the batch (its layer is dropped and the records are tried one by one),
the transaction (the overlay is dropped), the worker (everything is rebuilt from the changelog).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec
from sortedcontainers import SortedList

from streams.engine.rows import GONE, Gone, MemoryRows, Rows

V = TypeVar("V")
COUNTERS = "__task"
"""The table in which a task keeps its own numbers: commits, watermark and event times."""
TIMERS = "__timers"
"""The table in which a task keeps its timers."""
SHAPES = "__schema"
"""The table in which a task keeps the shape of what its tables hold."""
_encode = msgspec.json.Encoder().encode


class Table(Generic[V]):
    """One named table of one task. Values must not be changed in place."""

    def __init__(
        self,
        name: str,
        value: type[V],
        rows: Rows[V] | None = None,
        expires: Callable[[V], int] | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.expires = expires
        self._decode: Callable[[bytes], V] = msgspec.json.Decoder(value).decode
        self.committed: Rows[V] = MemoryRows(expires) if rows is None else rows
        self.dirty: dict[str, V | Gone] = {}
        self.fresh: dict[str, V | Gone] = {}
        self._order: SortedList[str] | None = None
        """Keys of both overlays in order, from the first range that is asked for until one of them is dropped."""

    def get(self, key: str) -> V | None:
        """The value as of now, the batch at hand included; None when there is none."""
        found: V | Gone | None = self.fresh.get(key)
        if found is None:
            found = self.dirty.get(key)
            if found is None:
                return self.committed.get(key)
        return None if isinstance(found, Gone) else found

    def put(self, key: str, value: V) -> None:
        """Set the value."""
        if self._order is not None:
            self._note(key)
        self.fresh[key] = value

    def delete(self, key: str) -> None:
        """Remove the value if it is there."""
        if self._order is not None:
            self._note(key)
        self.fresh[key] = GONE

    def items(self, prefix: str = "") -> Iterator[tuple[str, V]]:
        """Keys that begin with ``prefix``, in order, with their values; see :meth:`range`."""
        for key, value in self.range(prefix):
            if not key.startswith(prefix):
                return
            yield key, value

    def range(self, start: str = "", end: str | None = None, *, reverse: bool = False) -> Iterator[tuple[str, V]]:
        """Keys of ``start <= key < end`` in order, or in reverse, with their values.

        The keys are those that are there when the first is taken; one that was deleted since is left out, one that was
        changed has its new value.
        """
        if self._order is None:
            self._order = SortedList({**self.dirty, **self.fresh})
        overlay = list(self._order.irange(start, end, (True, False), reverse))
        committed = self.committed.keys_from(start, end, reverse)
        before: str | None = None
        for key in heapq.merge(overlay, committed, reverse=reverse) if overlay else committed:
            if key != before:
                before = key
                value = self.get(key)
                if value is not None:
                    yield key, value

    def _note(self, key: str) -> None:
        if self._order is not None and key not in self.fresh and key not in self.dirty:
            self._order.add(key)

    def keep(self) -> None:
        """The batch succeeded: its layer joins the overlay."""
        if self.fresh:
            self.dirty.update(self.fresh)
            self.fresh.clear()

    def forget(self) -> None:
        """The batch failed: drop its layer."""
        self.fresh.clear()
        self._order = None

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Changelog records of the overlay: key ``table/key``, value JSON or None for a deletion."""
        for key, value in self.dirty.items():
            yield f"{self.name}/{key}".encode(), None if isinstance(value, Gone) else _encode(value)

    def merge(self) -> None:
        """The transaction is committed: the overlay becomes the base."""
        if self.dirty:
            self.committed.apply(self.dirty)
            self.dirty.clear()
            self._order = None

    def abort(self) -> None:
        """The transaction is gone: so is all that was not committed."""
        self.fresh.clear()
        self.dirty.clear()
        self._order = None

    def restore(self, key: str, value: bytes | None) -> None:
        """Take one changelog record. Raises ValueError when it does not fit the table's type."""
        self.committed.restore(key, None if value is None else self._decode(value))
