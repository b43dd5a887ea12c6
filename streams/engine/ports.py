"""What the engine asks of those who use it: topics, processors, and a vocabulary for the records it writes itself.

The engine never imports a schema or a processor; it meets them through these shapes (structural typing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

Headers = list[tuple[str, str | bytes | None]]


class TopicPort(Protocol):
    """A topic as the engine sees it; ``schemas.topics.Topic`` has this shape."""

    @property
    def name(self) -> str:
        """Its name without a tenant prefix."""

    @property
    def broadcast(self) -> bool:
        """Every record is in every partition, and is read before the others when a task starts."""

    @property
    def urgent(self) -> bool:
        """A record waiting here is committed at once."""

    @property
    def decode(self) -> Callable[[bytes], Any]:
        """Bytes to record; raises ValueError (msgspec's errors are such) or TypeError."""

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """Record to bytes."""


class StatePort(Protocol):
    """A declared table: name in the changelog, type of its values, and how long they stay (microseconds)."""

    name: str
    value: type[Any]
    ttl: int | None


class ProcessorPort(Protocol):
    """A processor as the engine sees it; ``processors.processor.Processor`` has this shape."""

    name: Any
    reads: Any
    writes: Any
    newest_only: Any
    timers: Any

    def on_batch(self, batch: Any, out: Any) -> None:
        """Take a batch of one topic."""

    def on_time(self, key: str, now: int, out: Any) -> None:
        """Take a timer that is due."""


class MessagePort(Protocol):
    """A consumed Kafka message; ``confluent_kafka.Message`` has this shape."""

    def value(self) -> bytes | None:
        """The raw record."""

    def key(self) -> bytes | None:
        """The raw key."""

    def offset(self) -> int:
        """Its offset in the partition."""

    def timestamp(self) -> tuple[int, int]:
        """Kind and milliseconds."""


@dataclass(frozen=True)
class Poison:
    """A record that could not be processed."""

    application: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    raw: bytes
    reason: str
    timestamp: int
    """Kafka's timestamp, microseconds."""


class SegmentEntry(NamedTuple):
    """One entry of the journal: a batch (time 0), timers that fired or a topic that went idle (offsets -1)."""

    topic: str
    first: int
    last: int
    records: int
    time: int


@dataclass(frozen=True)
class JournalEntry:
    """What one commit of one task was fed and a hash of what it wrote."""

    application: str
    partition: int
    commit: int
    segments: list[SegmentEntry]
    outputs: int
    output_hash: str
    event_time: int


@dataclass(frozen=True)
class Output:
    """A record ready to be produced. ``topic`` is without prefix; ``route`` decides the partition."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    route: str | int
    """The routing part of the key, or an explicit partition."""


class Vocabulary(Protocol):
    """How the engine's own facts are written in the words of the house."""

    def coordinates(self, topic: str, partition: int, offset: int) -> Any:
        """Coordinates as processors put them into records."""

    def dead_letter(self, poison: Poison) -> Output:
        """The record for the dead-letter topic."""

    def journal(self, entry: JournalEntry) -> Output:
        """The record for the journal topic."""

    def headers(self, topic: TopicPort, source: str, event_id: str, event_time: int) -> Headers:
        """Headers of an output."""


def tables_of(processor: type[Any]) -> Iterator[tuple[str, StatePort]]:
    """The tables that a processor class declares (attributes with ``name`` and ``value`` typed like StatePort)."""
    seen: set[str] = set()
    for cls in processor.__mro__:
        for name, member in vars(cls).items():
            declared = (
                getattr(member, "name", None) == name and hasattr(member, "value") and not isinstance(member, Enum)
            )
            if declared and name not in seen:
                seen.add(name)
                yield name, member
