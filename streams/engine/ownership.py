"""The tasks of the partitions a session owns: given, restored, loaded, running, taken.

Group management covers the processor's first input only; the other inputs follow it by partition number. That keeps
co-partitioned inputs together under the cooperative-sticky assignor, which by itself spreads each topic as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicPartition

from streams.engine.errors import Fatal, Migrated, classify
from streams.engine.identity import Identities, Mark, way_out
from streams.engine.layout import changelog_of
from streams.engine.outside import Consumer, Outside
from streams.engine.ports import TopicPort
from streams.engine.restore import Place, Restoration, bounds
from streams.engine.standby import Standbys
from streams.engine.task import Task

log = structlog.get_logger(__name__)

_ROUND = 1.0
"""Seconds in which the client comes round by itself to what it is asked to do now."""


class Ownership:
    """Owned partitions and their tasks. A task that is not ``running`` decides nothing: its state is being read back,
    or it is reading the broadcast inputs to their present end, so that no decision misses a limit."""

    def __init__(
        self,
        cluster: Outside,
        processor: type[Any],
        make: Callable[[int], Task],
        standbys: Standbys,
        partitions: int,
        timeout: float,
    ) -> None:
        self._cluster = cluster
        self._processor = processor
        self._make = make
        self._standbys = standbys
        self._timeout = timeout
        self.topics: dict[str, TopicPort] = {cluster.named(topic.name): topic for topic in processor.reads}
        self.tasks: dict[int, Task] = {}
        self.newly: set[int] = set()
        """Partitions given since the session last looked: whatever was fetched before that is stale."""
        self._broadcast = [name for name, topic in self.topics.items() if topic.broadcast]
        self._waiting: dict[int, dict[str, int]] = {}
        self._committed: dict[int, set[int | None]] = {}
        self._restored: list[Task] = []
        self._restoration = Restoration(cluster, processor.name, timeout)
        changelog = cluster.named(changelog_of(processor.name))
        self.identities = Identities(
            cluster.admin(), cluster.clock, processor.name, self.topics, changelog, partitions, timeout
        )

    def running(self) -> Iterator[tuple[int, Task]]:
        """Partitions whose tasks may decide, with their tasks."""
        return ((partition, task) for partition, task in self.tasks.items() if partition not in self._waiting)

    @property
    def loading(self) -> int:
        """How many tasks are not running yet."""
        return len(self._waiting)

    @property
    def restoring(self) -> bool:
        """Whether state is being read back: then nobody should wait for long elsewhere."""
        return bool(self._restoration or self._restored)

    # --- given and taken ---------------------------------------------------------------------------------------

    def meet(self, consumer: Consumer) -> None:
        """Have the client know who leads the inputs: of those that it has not subscribed to it asks only when it looks
        round, which is once a second. Before anything is fetched: afterwards each question would wait behind a fetch.

        Never from a callback: this question within another call takes away what the client needs for the next callback
        in that call, and it ends the process (confluent-kafka 2.16, ``CallState_get``).
        """
        with suppress(KafkaException):  # the cluster is away: whoever reads will be told
            for name in self.topics:
                consumer.list_topics(name, _ROUND)

    def give(self, consumer: Consumer, partitions: list[int]) -> None:
        """Take over partitions of all inputs at their committed offsets, paused, and begin to restore their tasks."""
        places = [TopicPartition(name, partition) for partition in partitions for name in self.topics]
        committed = self._committed_offsets(consumer, places)
        for tp in places:
            tp.offset = committed[tp.topic, tp.partition]
        consumer.incremental_assign(places)
        consumer.pause(places)
        for partition in partitions:
            task = self._standbys.take(partition) or self._make(partition)
            task.offsets = {topic.name: committed[name, partition] for name, topic in self.topics.items()}
            task.committed_offsets = dict(task.offsets)
            self.tasks[partition] = task
            self._waiting[partition] = {}
            self.newly.add(partition)
        self._restored += self._restoration.add(self.tasks[partition] for partition in partitions)

    def take(self, consumer: Consumer, partitions: Iterable[int]) -> None:
        """Let go of partitions of all inputs, whatever has become of their tasks."""
        gone = set(partitions)
        for partition in gone:
            self._restoration.drop(partition)
            self._waiting.pop(partition, None)
            self._committed.pop(partition, None)
            if task := self.tasks.pop(partition, None):
                self._standbys.keep(task)
        self._restored = [task for task in self._restored if task.partition not in gone]
        consumer.incremental_unassign([tp for tp in consumer.assignment() if tp.partition in gone])

    def _committed_offsets(self, consumer: Consumer, places: list[TopicPartition]) -> dict[Place, int]:
        self.identities.look()
        # With read_committed this waits for a predecessor's transaction on these offsets to be decided.
        answer = consumer.committed(places, self._timeout)
        offsets: dict[Place, int] = {}
        marks: dict[int, list[Mark]] = {}
        for tp in answer:
            if tp.error is not None:
                raise classify(tp.error, f"reading the committed offset of {tp.topic}[{tp.partition}]")
            offsets[tp.topic, tp.partition] = tp.offset
            if tp.offset >= 0:
                mark = Mark.parse(tp.metadata)
                if mark is not None:
                    self.identities.check(tp.topic, tp.partition, tp.offset, mark)
                    marks.setdefault(tp.partition, []).append(mark)
                self._committed.setdefault(tp.partition, set()).add(mark.commit if mark else None)
        for partition, found in marks.items():
            self.identities.check_all(partition, [name for name in self.topics if offsets[name, partition] < 0], found)
        # Compared here, because the client's own error on it is lost when the partition is paused in the same moment.
        for (name, partition), (low, high) in bounds(self._cluster, offsets, self._timeout).items():
            offset = offsets[name, partition]
            if offset < 0:
                offsets[name, partition] = low
            elif not low <= offset <= high:
                raise Fatal(
                    f"the committed offset {offset} of {name}[{partition}] is no longer in the topic, which has "
                    f"{low} to {high}: the records expired or were deleted before they were processed. Nothing is "
                    f"skipped silently: bring them back, or {way_out(self._processor.name)}; with --skip-lost it "
                    "keeps the state and goes on with what is left."
                )
        return offsets

    # --- from restored to running ------------------------------------------------------------------------------

    def advance(self, consumer: Consumer, patience: float) -> None:
        """Read some changelog; load and start the tasks whose state is there. Raises Fatal when it cannot be."""
        if self._restoration:
            self._restored += self._restoration.step(patience)
        if self._restored:
            tasks, self._restored = self._restored, []
            self._load(consumer, tasks)

    def _load(self, consumer: Consumer, tasks: list[Task]) -> None:
        doubtful = [task for task in tasks if task.kept and self._differs(task)]
        if doubtful:
            for task in doubtful:
                task.wipe()
            self._restored += self._restoration.add(doubtful)
            tasks = [task for task in tasks if task not in doubtful]
        for task in tasks:
            self._check(consumer, task)
        places = [(name, task.partition) for task in tasks for name in self._broadcast]
        ends = bounds(self._cluster, places, self._timeout)
        asleep = len(self._waiting) == len(self.tasks) and not any(self._waiting.values())
        for task in tasks:
            at = {name: ends[name, task.partition][1] for name in self._broadcast}
            self._wait(consumer, task, {name: end for name, end in at.items() if self._offset(task, name) < end})
        if asleep:
            self._wake(consumer, tasks)

    def _wake(self, consumer: Consumer, tasks: list[Task]) -> None:
        """Have the client fetch now what was resumed: its thread for a broker of which it fetches nothing sleeps for up
        to a second, and resuming does not wake it (librdkafka 2.16). A question does."""
        with suppress(KafkaException):
            consumer.offsets_for_times(
                [TopicPartition(name, task.partition, 0) for task in tasks for name in self.topics], _ROUND
            )

    def _differs(self, task: Task) -> bool:
        """Whether state and offsets tell of different commits."""
        found = self._committed.get(task.partition, {0})
        return any(commit is not None and commit != task.commits for commit in found)

    def _check(self, consumer: Consumer, task: Task) -> None:
        """State and offsets were committed together, so they must tell of the same commit."""
        found = self._committed.pop(task.partition, None)
        group, changelog = self._cluster.named(task.application), self._cluster.named(changelog_of(task.application))
        which = f"{group} partition {task.partition}"
        mend = f"Bring back what is missing; otherwise {way_out(task.application)}."
        if found is None:
            if task.commits:
                self._check_still_ours(consumer, task, set())
                raise Fatal(
                    f"{which} has state of {task.commits} commits but no committed offsets: "
                    "they expired or were deleted. Processing its inputs from the beginning on top of that state "
                    f"would double everything. {mend}"
                )
            return
        wrong = [commit for commit in found if commit is not None and commit != task.commits]
        if wrong:
            self._check_still_ours(consumer, task, found)
            raise Fatal(
                f"{which}: the committed offsets are those of commit {max(wrong)}, but the state in {changelog} is "
                f"that of commit {task.commits}. Records of the changelog were lost or changed. {mend}"
            )
        if None in found:
            log.warning("offsets were set by somebody else", application=group, partition=task.partition)

    def _check_still_ours(self, consumer: Consumer, task: Task, found: set[int | None]) -> None:
        """Raises Migrated when somebody has committed since the offsets were read: this worker had stood still."""
        places = [TopicPartition(name, task.partition) for name in self.topics]
        committed = consumer.committed(places, self._timeout)
        now = {mark.commit if (mark := Mark.parse(tp.metadata)) else None for tp in committed if tp.offset >= 0}
        if now != found:
            raise Migrated(f"partition {task.partition} was committed by another worker while it was restored here")

    def _wait(self, consumer: Consumer, task: Task, ends: dict[str, int]) -> None:
        self._waiting[task.partition] = ends
        if ends:
            consumer.resume([TopicPartition(name, task.partition) for name in ends])
        else:
            self._start(consumer, task.partition)

    def note(self, consumer: Consumer, partition: int, name: str, position: int) -> None:
        """All of topic ``name`` (as on the cluster) up to ``position`` was processed."""
        ends = self._waiting.get(partition)
        if ends and position >= ends.get(name, position + 1):
            del ends[name]
            if not ends:
                self._start(consumer, partition)

    def _start(self, consumer: Consumer, partition: int) -> None:
        del self._waiting[partition]
        consumer.resume([TopicPartition(name, partition) for name in self.topics])
        log.info("task running", application=self._processor.name, partition=partition)

    # --- back --------------------------------------------------------------------------------------------------

    def rewind(self, consumer: Consumer) -> None:
        """Drop what is not committed and go back to the committed offsets.

        Broadcast records that were taken back are read again before the task decides anything.
        """
        for partition, task in self.tasks.items():
            if partition in self._restoration or task in self._restored:
                continue  # it has been fed nothing
            reached = {name: self._offset(task, name) for name in self._broadcast}
            ends = self._waiting.get(partition, {})
            task.abort()
            again = {
                name: max(ends.get(name, 0), offset)
                for name, offset in reached.items()
                if name in ends or offset > self._offset(task, name)
            }
            if again and partition not in self._waiting:
                consumer.pause([TopicPartition(name, partition) for name in self.topics if name not in again])
            for name in self.topics:
                consumer.seek(TopicPartition(name, partition, self._offset(task, name)))
            if again:
                self._wait(consumer, task, again)

    def _offset(self, task: Task, name: str) -> int:
        return task.offsets[self.topics[name].name]

    def close(self) -> None:
        """Stop restoring, let go of the tasks."""
        self._restoration.close()
        for task in self.tasks.values():
            self._standbys.keep(task)
        self.tasks.clear()
