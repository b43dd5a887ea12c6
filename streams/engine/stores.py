"""Where the committed rows of a task are kept: in memory, or (``streams.engine.disk``) in files of this machine.

Kafka has the state; a store is a copy of it. ``position`` says how far that copy goes: the offset in the changelog
up to which the rows are what the changelog says, so that only what comes after it must be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import msgspec

from streams.engine.fingerprint import shape_of
from streams.engine.ports import tables_of
from streams.engine.rows import MemoryRows, Rows

V = TypeVar("V")


class Store(Protocol):
    """The committed rows of one task's tables."""

    position: int | None
    """Offset of the changelog from which on it must still be read; None: from the beginning."""

    def rows(self, table: str, value: type[V], expires: Callable[[V], int] | None = None) -> Rows[V]:
        """The rows of a table; ``expires`` tells when a value expires."""

    @property
    def size(self) -> int:
        """How many keys all tables have, perhaps estimated."""

    def writing(self) -> AbstractContextManager[None]:
        """What is applied to the rows within, and ``position``, is kept as a whole or not at all."""

    def wipe(self) -> None:
        """Throw away what is kept: it cannot be trusted. The rows handed out before must not be used any more."""

    def close(self) -> None:
        """Let go of it; what is kept in files stays there."""


class Stores(Protocol):
    """Opens the stores of a worker's tasks."""

    keep: bool
    """Whether a store outlives its task, so that its place in the changelog is worth knowing."""

    def open(self, partition: int) -> Store:
        """The store of a task, with what can be trusted of what it held."""


class MemoryStore:
    """Rows in dicts; gone with the process."""

    def __init__(self) -> None:
        self.position: int | None = None
        self._rows: list[MemoryRows[Any]] = []

    def rows(self, table: str, value: type[V], expires: Callable[[V], int] | None = None) -> Rows[V]:
        """A dict."""
        rows: MemoryRows[V] = MemoryRows(expires)
        self._rows.append(rows)
        return rows

    @property
    def size(self) -> int:
        """How many keys all tables have."""
        return sum(map(len, self._rows))

    def writing(self) -> AbstractContextManager[None]:
        """Nothing to hold together: it is all lost at once."""
        return nullcontext()

    def wipe(self) -> None:
        """Nothing outlives the rows."""
        self.position = None
        self._rows.clear()

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryStores:
    """A new :class:`MemoryStore` for every task."""

    keep = False

    def open(self, partition: int) -> Store:
        """An empty one."""
        return MemoryStore()


def fingerprint(processor: type[Any]) -> str:
    """What the rows of a processor's tables look like: names, JSON Schemas of their values, and whether they expire."""
    shapes = {state.name: (shape_of(state.value), state.ttl is not None) for _, state in tables_of(processor)}
    return hashlib.blake2b(msgspec.json.encode(shapes, order="deterministic"), digest_size=16).hexdigest()
