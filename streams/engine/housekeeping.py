"""What a session does once a second beside its work: it counts, tells who is idle, and sees to the warm copies."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicPartition

from streams.engine import metrics
from streams.engine.members import Members
from streams.engine.outside import Consumer
from streams.engine.ownership import Ownership
from streams.engine.task import Task

if TYPE_CHECKING:
    from streams.engine.worker import Worker

_INTERVAL = 1.0


class Housekeeping:
    """Knows which inputs have been read to their end, and since when."""

    def __init__(self, worker: Worker, own: Ownership, members: Members) -> None:
        self._worker = worker
        self._application: str = worker.processor.name
        self._clock = worker.clock
        self._own = own
        self._members = members
        self._ends: dict[tuple[str, int], float] = {}
        self._due = 0.0

    def reached_end(self, name: str, partition: int) -> None:
        """There is nothing to read in the partition now."""
        self._ends[name, partition] = self._clock.monotonic()

    def left_end(self, name: str, partition: int) -> None:
        """There was something to read in the partition."""
        self._ends.pop((name, partition), None)

    def forget(self, partitions: Collection[int] | None = None) -> None:
        """Nothing is known of the ends of ``partitions``, or of none at all, any more."""
        for place in [place for place in self._ends if partitions is None or place[1] in partitions]:
            del self._ends[place]

    def keep(self, consumer: Consumer, now: int) -> bool:
        """Once a second, otherwise nothing; whether it was time. ``now``: microseconds."""
        if self._clock.monotonic() <= self._due:
            return False
        self._due = self._clock.monotonic() + _INTERVAL
        self._own.identities.glance()
        for partition, task in self._own.tasks.items():
            metrics.state_keys.labels(self._application, partition).set(task.keys)
            for name, topic in self._own.topics.items():
                behind = self._behind(consumer, name, topic.name, task)
                metrics.lag.labels(self._application, topic.name, partition).set(behind)
        self._tell_idle(now)
        worker = self._worker
        worker.standbys.choose(self._members.look(worker.partitions), self._own.tasks, worker.partitions)
        worker.standbys.observe(worker.slot)
        loading = self._own.loading
        self._count_tasks(running=len(self._own.tasks) - loading, restoring=loading)
        return True

    def close(self) -> None:
        """No task runs here any more."""
        self._count_tasks(running=0, restoring=0)

    def _tell_idle(self, now: int) -> None:
        for partition, task in self._own.running():
            for name, topic in self._own.topics.items():
                since = self._ends.get((name, partition))
                if since is not None and self._clock.monotonic() - since > self._worker.options.idle_after:
                    task.idle(topic, now)

    def _count_tasks(self, **counts: int) -> None:
        for state, count in counts.items():
            metrics.tasks.labels(self._application, self._worker.slot, state).set(count)

    def _behind(self, consumer: Consumer, name: str, bare: str, task: Task) -> int:
        if (name, task.partition) in self._ends:
            return 0
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(name, task.partition), cached=True)
        except KafkaException:
            return 0  # nothing fetched from it yet
        return max(0, high - task.offsets[bare])
