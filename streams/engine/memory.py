"""In-memory driver: the same tasks, fed from lists instead of partitions; for unit tests, examples and replay.

Own code because it is the engine's test driver, as TopologyTestDriver is for Kafka Streams: records go through their
real encoding in both directions, broadcast topics reach every task, and each output is routed as on a cluster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from streams.engine.partitions import partition_of
from streams.engine.ports import Output, Poison, TopicPort, Vocabulary
from streams.engine.task import Task


class MemoryMessage:
    """A record in a :class:`MemoryDriver`, in the shape of a consumed Kafka message."""

    __slots__ = ("_key", "_offset", "_timestamp", "_value", "headers")

    def __init__(
        self, key: bytes | None, value: bytes | None, offset: int, timestamp: int, headers: Any = None
    ) -> None:
        self._key = key
        self._value = value
        self._offset = offset
        self._timestamp = timestamp
        self.headers = headers

    def key(self) -> bytes | None:
        """The raw key."""
        return self._key

    def value(self) -> bytes | None:
        """The raw record."""
        return self._value

    def offset(self) -> int:
        """Its place in the partition."""
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        """Kind (create time) and milliseconds."""
        return (1, self._timestamp // 1000)


class MemoryDriver:
    """Hosts processors on partitions that are lists. Deterministic: topics in the order the processors read them."""

    def __init__(self, processors: Sequence[type[Any]], vocabulary: Vocabulary, *, partitions: int = 1) -> None:
        self.partitions = partitions
        self.now = 0
        self.log: dict[tuple[str, int], list[MemoryMessage]] = defaultdict(list)
        self.poison: list[Poison] = []
        self._vocabulary = vocabulary
        self._processors = processors
        self.tasks = [Task(p, n, vocabulary) for p in processors for n in range(partitions)]
        self.changelog: dict[tuple[str, int], dict[bytes, bytes]] = defaultdict(dict)

    def publish(
        self,
        topic: TopicPort,
        key: str,
        record: Any = None,
        *,
        value: bytes | None = None,
        partition: int | None = None,
    ) -> None:
        """Put a record (or raw bytes) on a topic; on a broadcast topic into every partition."""
        raw = topic.encode(record) if value is None and record is not None else value
        if topic.broadcast:
            places: Sequence[int] = range(self.partitions)
        else:
            places = [partition_of(key.partition("|")[0], self.partitions) if partition is None else partition]
        for place in places:
            self._put(topic.name, place, key.encode(), raw)

    def run(self) -> None:
        """Process and commit until nothing moves: broadcast inputs first, as a starting task does."""
        moving = True
        while moving:
            moving = False
            for task in self.tasks:
                moving = self._step(task) or moving

    def advance(self, now: int) -> None:
        """Move the recorded wall clock (microseconds): due timers fire, and what they cause is run."""
        self.now = now
        for task in self.tasks:
            if task.tick(now):
                self._commit(task)
        self.run()

    def crash(self) -> None:
        """Lose all memory and rebuild every task from its changelog, as after a kill."""
        offsets = {(t.application, t.partition): t.committed_offsets for t in self.tasks}
        self.tasks = [Task(p, n, self._vocabulary) for p in self._processors for n in range(self.partitions)]
        for task in self.tasks:
            place = (task.application, task.partition)
            for key, value in self.changelog[place].items():
                task.restore(key, value)
            task.restored()
            task.offsets = dict(offsets[place])
            task.committed_offsets = dict(offsets[place])

    def records(self, topic: TopicPort) -> list[Any]:
        """Everything committed on a topic, partition by partition, in order (one copy of a broadcast)."""
        places = range(1 if topic.broadcast else self.partitions)
        return [topic.decode(m.value() or b"") for p in places for m in self.log[topic.name, p]]

    def latest(self, topic: TopicPort) -> dict[str, Any]:
        """The newest record of each key."""
        return {
            (m.key() or b"").decode(): topic.decode(m.value() or b"")
            for p in range(self.partitions)
            for m in self.log[topic.name, p]
        }

    @property
    def dead_letters(self) -> list[Any]:
        """The poison records as the engine saw them, oldest first."""
        return list(self.poison)

    def _put(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Any = None) -> None:
        queue = self.log[topic, partition]
        queue.append(MemoryMessage(key, value, len(queue), self.now, headers))

    def _step(self, task: Task) -> bool:
        moved = False
        reads = sorted(type(task.processor).reads, key=lambda topic: not topic.broadcast)
        for topic in reads:
            waiting = self.log[topic.name, task.partition][task.offsets.get(topic.name, 0) :]
            if waiting:
                task.feed(topic, waiting)
                moved = True
        if moved:
            self._commit(task)
        return moved

    def _commit(self, task: Task) -> None:
        self.poison += task.poison
        outputs, changes = task.drain()
        for output in outputs:
            self._put(output.topic, self._place(output), output.key, output.value, output.headers)
        store = self.changelog[task.application, task.partition]
        for key, value in changes:
            if value is None:
                store.pop(key, None)
            else:
                store[key] = value
        task.committed()

    def _place(self, output: Output) -> int:
        return output.route if isinstance(output.route, int) else partition_of(output.route, self.partitions)
