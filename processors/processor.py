"""The interface between a decision and the engine that hosts it.

A processor is pure: no clock, no I/O, no randomness. What it needs is an input record, a table or a recorded time.
State is addressed by the first part of the record's key (its route); a processor never reads what belongs to another
route. Broadcast inputs (limits, rules, switches, instruments) reach every task, so a table that is filled from them
alone may be read for every route.

The engine makes one instance per task (one partition of the processor's inputs) and hands it its tables and timers
before the first batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar, overload

from schemas.base import Coordinates, Record
from schemas.topics import Topic

R = TypeVar("R", bound=Record)
V = TypeVar("V")


class Batch(Protocol):
    """Decoded records of one topic and partition in consumed order; with ``newest_only``, one per key."""

    @property
    def topic(self) -> Topic[Any]:
        """The topic that all records of the batch come from."""

    @property
    def values(self) -> Sequence[Any]:
        """The decoded records."""

    def key(self, index: int) -> str:
        """Message key of the record at ``index``; empty when it had none."""

    def at(self, index: int) -> Coordinates:
        """Where the record at ``index`` stands in Kafka."""

    def reject(self, index: int, reason: str) -> None:
        """Send the record at ``index`` to the dead letters with ``reason``; the caller goes on with the next."""


class Emitter(Protocol):
    """Where a processor puts what it has decided. Nothing is visible to anybody before the engine commits."""

    def latest(self, topic: Topic[R], key: str, record: R) -> None:
        """Write ``record``; of several with the same topic and key in one commit only the newest is written."""

    def append(self, topic: Topic[R], key: str, record: R, *, event_id: str) -> None:
        """Write ``record``, every one, in order. ``event_id`` must be derived from the inputs."""


class Table(Protocol[V]):
    """Durable state of one task: a dict whose changes are committed with the outputs they led to.

    A value that was got must not be changed in place: put a new one.
    """

    def get(self, key: str) -> V | None:
        """The value, or None."""

    def put(self, key: str, value: V) -> None:
        """Set the value."""

    def delete(self, key: str) -> None:
        """Remove the value if it is there."""

    def items(self, prefix: str = "") -> Iterator[tuple[str, V]]:
        """Keys that begin with ``prefix``, in order, with their values."""

    def range(self, start: str = "", end: str | None = None, *, reverse: bool = False) -> Iterator[tuple[str, V]]:
        """Keys of ``start <= key < end`` (None: to the last) in order, or in reverse, with their values.

        The keys are those that are there when the first is taken; the table may be changed meanwhile.
        """


class Timers(Protocol):
    """Durable timers of one task, one time per key and clock; setting again replaces."""

    @property
    def watermark(self) -> int:
        """The event time (microseconds) that all active inputs have reached; 0 before the first record."""

    def at_event(self, key: str, time: int) -> None:
        """Fire when the watermark (event time, microseconds) reaches ``time``."""

    def at_wall(self, key: str, time: int) -> None:
        """Fire when the recorded wall clock (microseconds) reaches ``time``."""

    def cancel(self, key: str) -> None:
        """Forget the key's timers."""


class State(Generic[V]):
    """Declares a table in a processor's class body: ``holdings = State(Holding)``. Each task gets its own."""

    def __init__(self, value: type[V], *, ttl: int | None = None) -> None:
        """``value``: the Struct or builtin that msgspec can write and read back.

        ``ttl``: microseconds of the log's time (Kafka's timestamps of the task's inputs) after which a value that was
        not put again is gone, at the latest a thousandth later; None: never.
        """
        self.value = value
        self.ttl = ttl
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """The attribute's name is the table's name in the changelog."""
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> State[V]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Table[V]: ...
    def __get__(self, instance: object | None, owner: type) -> State[V] | Table[V]:
        """The declaration; a hosted processor has the table itself in its place."""
        if instance is None:
            return self
        raise AttributeError(f"{owner.__name__}.{self.name} has no table yet: a driver must host the processor")


class Processor(ABC):
    """A decision. Subclasses declare what they read, write and remember, and decide in :meth:`on_batch`."""

    name: ClassVar[str]
    """Names the application: its consumer group, transactional ids and changelog. Never change it."""
    reads: ClassVar[tuple[Topic[Any], ...]]
    """Co-partitioned inputs. The first leads: its partitions decide who runs which task."""
    writes: ClassVar[tuple[Topic[Any], ...]]
    newest_only: ClassVar[frozenset[Topic[Any]]] = frozenset()
    """Inputs of which only the newest record per key and batch matters: only those are decoded."""

    timers: Timers

    @abstractmethod
    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Take a batch of one of ``reads``; put decisions into ``out``."""

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        """The timer of ``key`` is due. ``now``: the watermark or recorded wall clock that made it so."""
        raise NotImplementedError(f"{self.name} set a timer for {key!r} but has no on_time")
