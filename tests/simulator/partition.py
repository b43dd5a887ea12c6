"""A partition's log with transactions: records, markers, the last stable offset, and what each isolation level sees."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

Pid = tuple[int, int]
"""Producer id and epoch."""
ALONE: Pid = (-1, -1)
"""Written outside a transaction."""


class Entry(NamedTuple):
    """One offset. ``number``: the order in which its producer was given it, over all partitions; for the oracle only.
    ``control``: None for a record, otherwise whether the marker commits."""

    offset: int
    pid: Pid
    transaction: int
    number: int
    key: bytes | None
    value: bytes | None
    time: float
    control: bool | None = None
    headers: Any = None


class Log:
    """Append-only; compaction leaves holes, as it does in Kafka."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.end = 0
        self._open: dict[int, int] = {}
        self._aborted: set[tuple[int, int]] = set()
        self.sequences: dict[Pid, tuple[int, int]] = {}
        """Newest batch of each producer and epoch, and the offset after it."""

    @property
    def stable(self) -> int:
        """Last stable offset: the first of a transaction that is not decided, or the end."""
        return min(self._open.values(), default=self.end)

    def append(
        self,
        pid: Pid,
        transaction: int,
        records: list[tuple[int, bytes | None, bytes | None, Any]],
        time: float,
    ) -> None:
        """Append (number, key, value, headers) records; those of a transaction hold the last stable offset back."""
        if pid != ALONE:
            self._open.setdefault(pid[0], self.end)
        for number, key, value, headers in records:
            self.entries.append(Entry(self.end, pid, transaction, number, key, value, time, headers=headers))
            self.end += 1

    def mark(self, pid: Pid, transaction: int, *, commit: bool, time: float) -> None:
        """Decide a producer's open transaction."""
        self._open.pop(pid[0], None)
        if not commit:
            self._aborted.add((pid[0], transaction))
        self.entries.append(Entry(self.end, pid, transaction, -1, None, None, time, commit))
        self.end += 1

    def read(self, position: int, limit: int, *, committed: bool) -> tuple[list[Entry], int]:
        """Up to ``limit`` records from ``position``, and the position after them."""
        end = self.stable if committed else self.end
        found: list[Entry] = []
        i = bisect_left(self.entries, position, key=lambda entry: entry.offset)
        while i < len(self.entries) and self.entries[i].offset < end:
            entry = self.entries[i]
            if entry.control is None and not (committed and (entry.pid[0], entry.transaction) in self._aborted):
                if len(found) == limit:
                    return found, entry.offset
                found.append(entry)
            i += 1
        return found, max(position, end)

    def compact(self) -> None:
        """Drop what a later committed record of the same key has superseded, below the last stable offset."""
        stable = self.stable
        newest: dict[Any, int] = {}
        for entry in self.read(0, len(self.entries), committed=True)[0]:
            newest[entry.key] = entry.offset
        self.entries = [
            entry
            for entry in self.entries
            if entry.offset >= stable or entry.control is not None or newest.get(entry.key) == entry.offset
        ]
