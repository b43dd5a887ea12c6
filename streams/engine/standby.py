"""Warm copies of tasks that other workers own: they follow the changelogs, so that a takeover reads the tail only.

librdkafka lets nobody place tasks: whoever survives is given a dead worker's partitions. So a copy is sure to be of use
only when every other worker has one: that is ``standbys`` >= workers - 1. With fewer, each partition's copies are
spread by a hash over the workers that do not own it, and a takeover finds one with a chance of
standbys / (workers - 1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from streams.engine import metrics
from streams.engine.layout import changelog_of
from streams.engine.outside import Consumer, Outside
from streams.engine.stamps import follow
from streams.engine.stores import MemoryStore
from streams.engine.task import Task

log = structlog.get_logger(__name__)
_AT_ONCE = 5_000
"""Records taken in one step, so that the tasks that run are not kept waiting."""


class Standbys:
    """The copies that one worker keeps. ``make`` gives the task of a partition with what its store has kept."""

    def __init__(
        self, cluster: Outside, application: str, member: str, copies: int, make: Callable[[int], Task]
    ) -> None:
        self._cluster = cluster
        self._application = application
        self._topic = cluster.named(changelog_of(application))
        self._member = member
        self._copies = copies
        self._make = make
        self._tasks: dict[int, Task] = {}
        self._commits: dict[int, int] = {}
        self._wanted: set[int] = set()
        self._consumer: Consumer | None = None
        self.behind = False
        """Whether the last step ended before all that was there was taken."""

    # --- which -------------------------------------------------------------------------------------------------

    def choose(self, members: Iterable[Any] | None, owned: Iterable[int], partitions: int) -> None:
        """Begin and end copies by who is there now, or by who was if that is not known anew (None). Never waits."""
        if not self._copies:
            return
        if members is not None:
            self._wanted = wanted(members, self._member, self._copies, partitions)
        mine = set(owned)
        for partition in self._tasks.keys() - self._wanted:
            self._drop(partition)
        for partition in self._wanted - self._tasks.keys() - mine:
            self._follow(self._make(partition))

    def take(self, partition: int) -> Task | None:
        """The copy of a partition that this worker now owns, if there is one. It goes on at its store's position."""
        task = self._tasks.pop(partition, None)
        if task is not None:
            self._commits.pop(partition, None)
            metrics.standby_lag.remove(self._application, partition)
            self._reader().incremental_unassign([TopicPartition(self._topic, partition)])
        return task

    def keep(self, task: Task) -> None:
        """A task that this worker runs no more. Its committed rows become a copy, if their place is known.

        One with files is closed, so that they are looked at before they are used again.
        """
        if self._copies and isinstance(task.store, MemoryStore) and task.store.position is not None:
            task.abort()
            self._wanted.add(task.partition)
            self._follow(task)
        else:
            task.store.close()

    # --- following ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Take what is there of the followed changelogs, up to a bound. Never waits."""
        if not self._tasks:
            self.behind = False
            return
        messages = self._reader().consume(_AT_ONCE, 0)
        self.behind = len(messages) == _AT_ONCE
        if not messages:
            return
        with ExitStack() as batches:
            for task in self._tasks.values():
                batches.enter_context(task.store.writing())
            broken = {message.partition() or 0: why for message in messages if (why := self._apply(message))}
        for partition, why in broken.items():
            log.warning("standby given up", application=self._application, partition=partition, why=why)
            self._drop(partition, wipe=True)

    def observe(self, slot: int) -> None:
        """Tell the metrics how many there are, and how far behind."""
        if not self._copies:
            return
        metrics.standbys.labels(self._application, slot).set(len(self._tasks))
        for partition, task in self._tasks.items():
            place = TopicPartition(self._topic, partition)
            try:
                _, high = self._reader().get_watermark_offsets(place, cached=True)
            except KafkaException:
                continue  # nothing fetched yet
            # The last record of a commit is followed by the transaction's marker, which nobody is given.
            metrics.standby_lag.labels(self._application, partition).set(max(0, high - 1 - (task.store.position or 0)))

    def close(self) -> None:
        """Let go of all copies, and keep no more; what a store keeps in files stays there."""
        self._copies = 0
        for task in self._tasks.values():
            task.store.close()
        self._tasks.clear()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _apply(self, message: Any) -> str:
        """Take one record; why that is not possible, if so."""
        task = self._tasks.get(message.partition())
        if message.error() is not None:
            return str(message.error())
        if task is None:
            return ""
        try:
            self._commits[task.partition] = follow(message.headers(), self._commits.get(task.partition, 0))
            task.restore(message.key() or b"", message.value())
        except (ValueError, RecursionError) as error:
            return f"{self._topic}[{message.partition()}]@{message.offset()} cannot be taken: {error}"
        task.store.position = message.offset() + 1
        return ""

    def _follow(self, task: Task) -> None:
        self._tasks[task.partition] = task
        start = OFFSET_BEGINNING if task.store.position is None else task.store.position
        self._reader().incremental_assign([TopicPartition(self._topic, task.partition, start)])
        log.info("standby begun", application=self._application, partition=task.partition, position=start)

    def _drop(self, partition: int, *, wipe: bool = False) -> None:
        task = self.take(partition)
        if task is not None:
            if wipe:
                task.wipe()
            task.store.close()

    def _reader(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._cluster.reader(
                f"{self._application}-restore",
                auto_offset_reset="error",
                fetch_message_max_bytes=4 << 20,
                queued_max_messages_kbytes=4_096,
            )
        return self._consumer


def wanted(members: Iterable[Any], member: str, copies: int, partitions: int) -> set[int]:
    """Partitions of which ``member`` is to keep a copy: of those that others own, or nobody does, its share.

    ``members``: as ``describe_consumer_groups`` gives them. Every member comes to its share by the same rule: of those
    who do not own a partition, the ``copies`` with the least hash of name and partition.
    """
    owner: dict[int, str] = {}
    names: set[str] = set()
    for one in members:
        name = one.group_instance_id or one.member_id
        names.add(name)
        owner.update((tp.partition, name) for tp in one.assignment.topic_partitions)
    if member not in names:
        return set()
    found = set()
    for partition in range(partitions):
        others = sorted(names - {owner.get(partition)}, key=lambda name: _rank(name, partition))
        if member in others[:copies]:
            found.add(partition)
    return found


def _rank(name: str, partition: int) -> bytes:
    return hashlib.blake2b(f"{name}/{partition}".encode(), digest_size=8).digest()
