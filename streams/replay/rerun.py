"""One task made again from the journal: fed the same records in the same order at the same recorded time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from schemas import cloudevents, topics
from schemas.journal import Journal, Segment
from streams.engine.errors import Fatal
from streams.engine.ports import MessagePort, Output, TopicPort
from streams.engine.state import COUNTERS
from streams.engine.task import Task
from streams.vocabulary import Words

Fed = Callable[[TopicPort, Segment], Sequence[MessagePort]]
"""The records of a segment; raises Gone."""


@dataclass(frozen=True)
class Entry:
    """A journal record as it stands in Kafka. ``time``: Kafka's timestamp of it, microseconds; ``at``: its place."""

    record: Journal
    time: int
    at: str

    @property
    def anew(self) -> bool:
        """Whether there is no state before it: the first commit, and that of a reset, which was fed nothing."""
        return self.record.commit == 1 or not self.record.segments


@dataclass(frozen=True)
class Made:
    """What a commit writes when it is made again: the outputs as in Kafka, and the journal record that goes with them.

    ``latest``: how many of ``outputs``, from the first, are conflated ones.
    """

    outputs: list[Output]
    journal: Journal
    latest: int
    failure: str = ""
    """Why the decision failed, which it did not do when it was committed; empty otherwise."""


def event_id(output: Output) -> str:
    """The CloudEvents id of an output."""
    return cloudevents.read(output.headers).get("ce_id", "")


@dataclass
class Rerun:
    """A task of ``processor`` outside the engine.

    ``named`` and ``bare``: topic names on the cluster and without prefix. ``accessors``: what
    :class:`~streams.engine.task.Task` needs to read messages that are no ``MessagePort``.
    """

    processor: type[Any]
    partition: int
    named: Callable[[str], str] = str
    bare: Callable[[str], str] = str
    accessors: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin without state."""
        self._topics: dict[str, TopicPort] = {topic.name: topic for topic in self.processor.reads}
        self.reset()

    def reset(self, commits: int = 0) -> None:
        """Forget all state but the number of ``commits`` that were before."""
        self.task = Task(self.processor, self.partition, Words(), named=self.named, **self.accessors)
        if commits:
            self.task.restore(f"{COUNTERS}/commits".encode(), b"%d" % commits)
            self.task.restored()

    def twin(self) -> Rerun:
        """Another task with the same committed state; it takes any ``MessagePort``."""
        twin = replace(self, accessors={})
        for table in self.task.tables.values():
            for key, value in table.items():
                twin.task.restore(f"{table.name}/{key}".encode(), msgspec.json.encode(value))
        twin.task.restored()
        return twin

    def topic(self, segment: Segment) -> TopicPort | None:
        """Which input a segment is of; None for timers. Raises KeyError when the processor does not read it."""
        return self._topics[self.bare(segment.topic)] if segment.topic else None

    def play(self, entry: Entry, fed: Fed) -> Made:
        """Make a commit again. Raises Gone when its inputs are not there any more."""
        try:
            for segment in entry.record.segments:
                self.step(segment, fed)
            return self.commit()
        except KeyError as error:
            return Made([], entry.record, 0, f"{self.processor.name} does not read topic {error} any more")
        except Fatal as error:
            return Made([], entry.record, 0, str(error))

    def step(self, segment: Segment, fed: Fed) -> None:
        """Feed one segment: a run of records, timers that fired, or an input that fell silent."""
        topic = self.topic(segment)
        if topic is None:
            self.task.tick(segment.time)
        elif segment.first < 0:
            self.task.idle(topic, segment.time)
        elif messages := fed(topic, segment):
            self.task.feed(topic, messages)

    def commit(self) -> Made:
        """What has been decided since the last one, which thereby becomes the state. Raises Fatal."""
        latest = len(self.task.out.conflated)
        outputs, _ = self.task.drain()
        self.task.committed()
        journal = outputs.pop()
        return Made(outputs, topics.journal.decode(journal.value), latest)
