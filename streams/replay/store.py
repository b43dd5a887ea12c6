"""What a replay reads: the journal, the inputs it names, the changelog, and what was committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from confluent_kafka import Message

from schemas import cloudevents, topics
from schemas.journal import Segment
from streams.engine.cluster import Cluster
from streams.engine.layout import changelog_of
from streams.engine.partitions import partition_of
from streams.engine.ports import MessagePort, TopicPort
from streams.engine.task import Task
from streams.replay.base import state_before
from streams.replay.difference import Committed
from streams.replay.rerun import Entry, Rerun
from streams.replay.tape import Readers, Tape

_COMMIT_TAKES = 5_000_000
"""Microseconds before its journal record within which a commit's other outputs are looked for."""


class Store(Protocol):
    """Where the records of one task's past are."""

    def rerun(self, processor: type[Any], partition: int) -> Rerun:
        """A task without state."""

    def entries(self, application: str, partition: int, since: int = 0) -> Iterator[Entry]:
        """The task's journal in order, from what Kafka has at time ``since`` (microseconds) to its present end."""

    def fed(self, partition: int, topic: TopicPort, segment: Segment) -> Sequence[MessagePort]:
        """The records of a segment. Raises Gone when they are no longer all there."""

    def event_id(self, message: Any) -> str:
        """The CloudEvents id of a record that was fed."""

    def partitions(self, topic: str) -> int:
        """Partitions of a topic (name without prefix); 0 when there is none."""

    def state_before(self, task: Task, entry: Entry) -> None:
        """Put the state before the commit into a new task. Raises Gone; TooOld when a later commit has a state."""

    def committed(self, processor: type[Any], entry: Entry) -> Sequence[Committed]:
        """What the application committed about the time of a commit. For telling a difference."""


class KafkaStore:
    """Committed records of one cluster. Use as a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._readers = Readers(cluster)
        self._tapes: dict[tuple[str, int], Tape] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def rest(self) -> None:
        """Let go of the inputs that were read: the next task reads others."""
        while self._tapes:
            self._tapes.popitem()[1].close()

    def close(self) -> None:
        """Give every connection back."""
        self.rest()
        self._readers.close()

    def partitions(self, topic: str) -> int:
        """Partitions of a topic (name without prefix); 0 when there is none."""
        if topic not in self._counts:
            found = self._cluster.admin().list_topics(timeout=15).topics
            self._counts = {self._cluster.bare(name): len(one.partitions) for name, one in found.items()}
        return self._counts.get(topic, 0)

    def rerun(self, processor: type[Any], partition: int) -> Rerun:
        """A task without state."""
        accessors = {"value_of": Message.value, "key_of": Message.key}
        return Rerun(processor, partition, self._cluster.named, self._cluster.bare, accessors)

    def entries(self, application: str, partition: int, since: int = 0) -> Iterator[Entry]:
        """The task's journal in order, from what Kafka has at time ``since`` to its present end."""
        place = partition_of(application, self.partitions(topics.journal.name))
        wanted = f"{application}|{partition}".encode()
        with self._tape(topics.journal.name, place) as tape:
            low, high = tape.ends()
            first = tape.at_time(since) if since else low
            for message in tape.forward(first, high):
                if message.key() == wanted:
                    record = topics.journal.decode(message.value() or b"")
                    yield Entry(record, message.timestamp()[1] * 1000, f"{tape.place}@{message.offset()}")

    def fed(self, partition: int, topic: TopicPort, segment: Segment) -> Sequence[Any]:
        """The records of a segment. Raises Gone when they are no longer all there."""
        tape = self._tapes.get((topic.name, partition))
        if tape is None:
            tape = self._tapes[topic.name, partition] = self._tape(topic.name, partition)
        return tape.run(segment.first, segment.last, segment.count)

    def state_before(self, task: Task, entry: Entry) -> None:
        """Put the state before the commit into a new task. Raises Gone; TooOld when a later commit has a state."""
        with self._tape(changelog_of(task.application), task.partition) as tape:
            state_before(tape, task, entry)

    def event_id(self, message: Any) -> str:
        """The CloudEvents id of a record that was fed."""
        return cloudevents.read(message.headers()).get("ce_id", "")

    def committed(self, processor: type[Any], entry: Entry) -> list[Committed]:
        """What the application committed within five seconds before the journal record, of all its tasks."""
        found: list[tuple[str, Committed]] = []
        for topic in (*processor.writes, topics.dead_letters):
            for partition in range(self.partitions(topic.name)):
                with self._tape(topic.name, partition) as tape:
                    begin, end = tape.at_time(entry.time - _COMMIT_TAKES), tape.at_time(entry.time + 1_000)
                    found += (_committed(topic.name, tape, message) for message in tape.forward(begin, end))
        source = f"/gridtape/processors/{processor.name}"
        return [one for by, one in found if by == source]

    def _tape(self, topic: str, partition: int) -> Tape:
        return Tape(self._readers, self._cluster.named(topic), partition)


def _committed(topic: str, tape: Tape, message: Message) -> tuple[str, Committed]:
    headers: Any = message.headers()
    told = cloudevents.read(headers)
    raw: Any = message.key() or b""
    at, time = f"{tape.place}@{message.offset()}", message.timestamp()[1] * 1000
    key = raw.decode(errors="backslashreplace")
    return told.get("ce_source", ""), Committed(topic, key, message.value() or b"", told.get("ce_id", ""), at, time)
