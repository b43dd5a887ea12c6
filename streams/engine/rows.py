"""The committed rows of one table. In memory they are a dict; ``streams.engine.disk`` keeps them in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

from sortedcontainers import SortedDict, SortedList

V = TypeVar("V")


class Gone:
    """Marks a deleted key in a layer."""


GONE = Gone()


class Rows(Protocol[V]):
    """What is committed of one table."""

    def get(self, key: str, /) -> V | None:
        """The value, or None."""

    def keys_from(self, start: str, end: str | None, reverse: bool) -> Iterator[str]:
        """Keys of ``start <= key < end`` in order (``end`` None: to the last one), or in reverse."""

    def apply(self, changes: Mapping[str, V | Gone]) -> None:
        """Take what a transaction has committed."""

    def restore(self, key: str, value: V | None) -> None:
        """Take one record of the changelog."""

    def due(self, until: int) -> Iterator[str]:
        """Keys that expire at ``until`` or before; the rows must have been made with ``expires``."""


class MemoryRows(dict[str, V]):
    """A dict, so that reading costs no more than reading a dict.

    The order of the keys is kept from the first time that somebody asks for a range; tables that nobody reads in order
    pay nothing for it. ``expires`` tells when a value expires; None: never.
    """

    __slots__ = ("_due", "_expires", "_order")

    def __init__(self, expires: Callable[[V], int] | None = None) -> None:
        super().__init__()
        self._order: SortedList[str] | None = None
        self._expires = expires
        self._due: SortedDict[int, set[str]] = SortedDict()

    def keys_from(self, start: str, end: str | None, reverse: bool) -> Iterator[str]:
        """Keys in order; the first call sorts them."""
        if self._order is None:
            self._order = SortedList(self)
        return iter(self._order.irange(start, end, (True, False), reverse))

    def apply(self, changes: Mapping[str, V | Gone]) -> None:
        """Take what a transaction has committed."""
        if self._order is not None or self._expires is not None:
            for key, value in changes.items():
                self._note(key, None if isinstance(value, Gone) else value)
        for key, value in changes.items():
            if isinstance(value, Gone):
                self.pop(key, None)
            else:
                self[key] = value

    def restore(self, key: str, value: V | None) -> None:
        """Take one record of the changelog."""
        if self._order is not None or self._expires is not None:
            self._note(key, value)
        if value is None:
            self.pop(key, None)
        else:
            self[key] = value

    def due(self, until: int) -> Iterator[str]:
        """Keys that expire at ``until`` or before, the earliest first; of one time in order."""
        for time in self._due.irange(None, until):
            yield from sorted(self._due[time])

    def _note(self, key: str, value: V | None) -> None:
        before = self.get(key)
        if self._order is not None and (before is None) is not (value is None):
            if value is None:
                self._order.remove(key)
            else:
                self._order.add(key)
        if self._expires is None:
            return
        if before is not None:
            keys = self._due[self._expires(before)]
            keys.discard(key)
            if not keys:
                del self._due[self._expires(before)]
        if value is not None:
            self._due.setdefault(self._expires(value), set()).add(key)
