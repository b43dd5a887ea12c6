"""Rebuilding the state of tasks from their changelog, while the other tasks of the worker go on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from streams.engine import metrics
from streams.engine.errors import Corrupted, Fatal, classify
from streams.engine.identity import way_out
from streams.engine.layout import changelog_of
from streams.engine.outside import Admin, Consumer, Outside
from streams.engine.stamps import follow
from streams.engine.task import Task

Place = tuple[str, int]
"""Topic (as named on the cluster) and partition."""

_LEADERLESS = {
    KafkaError._NOENT,  # what the client makes of a partition without leader, or of a topic that it does not know (yet)
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_LEADER_EPOCH,  # a broker that has just started knows less than what it told
    KafkaError.FENCED_LEADER_EPOCH,
}

_STILL = 30.0
"""Seconds without progress after which it is told; a transaction is decided within its time-out, which is less."""

log = structlog.get_logger(__name__)
_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


def bounds(
    cluster: Outside, partitions: Iterable[Place], timeout: float, *, committed: bool = False
) -> dict[Place, tuple[int, int]]:
    """First offset and read_uncommitted high watermark of partitions (topic names as on the cluster).

    ``committed``: where read_committed readers end instead, which may be before that.

    A partition that is between two leaders, as each is right after its creation or a broker's start, is asked again
    until ``timeout`` seconds have passed. Raises EngineError.
    """
    asked = [TopicPartition(topic, partition) for topic, partition in partitions]
    if not asked:
        return {}
    admin = cluster.admin()
    isolation = {"isolation_level": IsolationLevel.READ_COMMITTED} if committed else {}
    clock = cluster.clock
    deadline = clock.monotonic() + timeout
    while True:
        try:
            _meet_leaders(admin, asked, timeout)
            low = admin.list_offsets(dict.fromkeys(asked, _EARLIEST), request_timeout=timeout)
            high = admin.list_offsets(dict.fromkeys(asked, _LATEST), request_timeout=timeout, **isolation)
            found = {(tp.topic, tp.partition): (low[tp].result().offset, high[tp].result().offset) for tp in asked}
        except KafkaException as error:
            if error.args[0].code() not in _LEADERLESS or clock.monotonic() > deadline:
                raise classify(error, "asking for the ends of partitions") from error
        else:
            # A broker that is starting may answer without an error and without an offset.
            unknown = [place for place, offsets in found.items() if min(offsets) < 0]
            if not unknown:
                return found
            if clock.monotonic() > deadline:
                raise Corrupted(f"no broker tells the ends of {unknown}")
        clock.sleep(0.02)


def _meet_leaders(admin: Admin, asked: list[TopicPartition], timeout: float) -> None:
    """Have the client know who leads those partitions. Raises KafkaException.

    A client that is asked for offsets before that looks for the leaders in two threads at once, and the one may free
    what the other still uses: the process ends with a segmentation fault (docs/engine.md, "Found and tried").
    """
    known = admin.list_topics(timeout=timeout).topics
    for tp in asked:
        partition = known[tp.topic].partitions.get(tp.partition) if tp.topic in known else None
        if partition is None or partition.leader < 0:
            raise KafkaException(KafkaError(KafkaError._NOENT, f"{tp.topic}[{tp.partition}] has no leader"))


@dataclass
class _Progress:
    task: Task
    position: int
    start: int
    end: int
    commit: int = 0
    """Number of the commit that the last record came with."""
    seen: int = -1
    """The position when somebody last looked whether it moves, at ``seen_at`` (steady seconds)."""
    seen_at: float = 0.0


class Restoration:
    """Reads changelog partitions read_committed up to where they ended before the restore began.

    The end is the read_uncommitted high watermark: an open transaction of a worker that died must first be decided
    (by the timeout of the transaction at the latest), otherwise its committed tail would be missed.
    """

    def __init__(self, cluster: Outside, application: str, timeout: float) -> None:
        self._cluster = cluster
        self._topic = cluster.named(changelog_of(application))
        self._application = application
        self._timeout = timeout
        self._running: dict[int, _Progress] = {}
        self._consumer: Consumer | None = None

    def __bool__(self) -> bool:
        return bool(self._running)

    def __contains__(self, partition: int) -> bool:
        return partition in self._running

    def add(self, tasks: Iterable[Task]) -> list[Task]:
        """Begin to restore, each from where its store ends; return the tasks that need nothing, which are done."""
        tasks = list(tasks)
        ends = bounds(self._cluster, [(self._topic, task.partition) for task in tasks], self._timeout)
        done: list[Task] = []
        assign: list[TopicPartition] = []
        for (_, partition), (low, _) in ends.items():
            if low > 0:
                raise Fatal(
                    f"changelog {self._topic}[{partition}] begins at offset {low}: what stood before was deleted, "
                    "and with it state that nothing else holds (its cleanup.policy must be compact, which deletes "
                    f"nothing of that kind). {self._mend()}"
                )
        for task in tasks:
            low, end = ends[self._topic, task.partition]
            start = task.store.position
            if start is not None and not low <= start <= end:
                log.warning("changelog is not the one that the state was kept from", partition=task.partition)
                task.wipe()
                start = None
            task.kept = start is not None
            start = low if start is None else start
            if start >= end:
                done.append(task)
            else:
                self._running[task.partition] = _Progress(task, start, start, end)
                assign.append(TopicPartition(self._topic, task.partition, start))
        if assign:
            self._open().incremental_assign(assign)
        return [self._finish(task) for task in done]

    def drop(self, partition: int) -> None:
        """The task was revoked before it was restored."""
        if self._running.pop(partition, None) is not None:
            self._open().incremental_unassign([TopicPartition(self._topic, partition)])

    def step(self, timeout: float) -> list[Task]:
        """Read some; return the tasks that are now restored. Raises Fatal when a record cannot be read."""
        # One record is waited for, then all that is there is taken: a batch alone would wait until it is full.
        messages = self._open().consume(1, timeout)
        if messages:
            messages += self._open().consume(10_000, 0)
        count = 0
        with ExitStack() as batches:
            for progress in self._running.values() if messages else ():
                batches.enter_context(progress.task.store.writing())
            for message in messages:
                count += self._note(message)
        metrics.restored.labels(self._application).inc(count)
        done = [progress for progress in self._running.values() if progress.position >= progress.end]
        for progress in done:
            self.drop(progress.task.partition)
        for partition, progress in self._running.items():
            ratio = (progress.position - progress.start) / (progress.end - progress.start)
            metrics.restore_ratio.labels(self._application, partition).set(ratio)
            self._watch(progress)
        return [self._finish(progress.task) for progress in done]

    def _note(self, message: Any) -> bool:
        """Take a record or an end of a partition; whether it was a record."""
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise classify(error, f"restoring from {self._topic}[{message.partition()}]")
        progress = self._running.get(message.partition())
        if progress is None or progress.position >= progress.end:
            return False  # of a task that was taken away, or is done
        if error is None:
            self._take(progress, message)
            progress.position = message.offset() + 1
        else:
            progress.position = max(progress.position, message.offset())
        progress.task.store.position = progress.position
        return error is None

    def _watch(self, progress: _Progress) -> None:
        """Nobody should have to guess why a task does not start."""
        now = self._cluster.clock.monotonic()
        if progress.position != progress.seen:
            progress.seen, progress.seen_at = progress.position, now
        elif now - progress.seen_at > _STILL:
            progress.seen_at = now
            log.warning(
                "the restore waits for a transaction that nobody decides: `gridtape doctor` names it and the way out",
                place=f"{self._topic}[{progress.task.partition}]@{progress.position}",
                end=progress.end,
            )

    def close(self) -> None:
        """Give the connection back; what was not finished is dropped."""
        self._running.clear()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _take(self, progress: _Progress, message: Any) -> None:
        try:
            progress.commit = follow(message.headers(), progress.commit)
        except ValueError as error:
            raise Fatal(
                f"changelog record {self._here(message)} was not written by this application: {error}. Somebody has "
                f"changed the state, so it cannot be trusted. {self._mend()}"
            ) from error
        try:
            progress.task.restore(message.key() or b"", message.value())
        except (ValueError, RecursionError) as error:
            raise Fatal(
                f"changelog record {self._here(message)} cannot be read: {error}. It was written by an incompatible "
                f"version: run that one again. {self._mend()}"
            ) from error

    def _here(self, message: Any) -> str:
        return f"{self._topic}[{message.partition()}]@{message.offset()}"

    def _mend(self) -> str:
        return f"Bring the topic back as it was; otherwise {way_out(self._application)}."

    def _finish(self, task: Task) -> Task:
        try:
            task.restored()
        except ValueError as error:
            raise Fatal(
                f"the state in {self._topic}[{task.partition}] was written by an incompatible version: {error}. Run "
                f"that version again, or {way_out(self._application)}."
            ) from error
        metrics.restore_ratio.labels(self._application, task.partition).set(1)
        log.info("state restored", application=self._application, partition=task.partition, keys=task.keys)
        return task

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._cluster.reader(
                f"{self._application}-restore",
                enable_partition_eof=True,
                auto_offset_reset="error",
                fetch_message_max_bytes=4 << 20,
                queued_max_messages_kbytes=4_096,
                fetch_wait_max_ms=10,  # the end is only known by an answer that holds nothing
            )
        return self._consumer
