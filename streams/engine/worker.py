"""One worker: a consumer, a transactional producer and the tasks of the partitions it owns, in one thread.

Group management covers the processor's first input only; the other inputs follow it by partition number. That keeps
co-partitioned inputs together under the cooperative-sticky assignor, which by itself spreads each topic as it likes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.engine import metrics
from streams.engine.cluster import Cluster
from streams.engine.errors import Abortable, Corrupted, EngineError, Migrated, classify
from streams.engine.layout import changelog_of
from streams.engine.ports import TopicPort, Vocabulary
from streams.engine.restore import Restoration, bounds
from streams.engine.state import WALL
from streams.engine.task import Task
from streams.engine.transactions import Transactions

log = structlog.get_logger(__name__)
_topic_of: Callable[[Any], str] = Message.topic  # type: ignore[assignment]  # a consumed message always has these
_partition_of: Callable[[Any], int] = Message.partition  # type: ignore[assignment]


@dataclass(frozen=True)
class Options:
    """How a worker trades latency for throughput, and how long it waits for Kafka. Times in seconds."""

    commit_interval: float = 0.1
    """At most this long between an input and its commit under load."""
    quiet_interval: float = 0.002
    """At least this long between two commits that nobody waits for, when the input is drained."""
    batch: int = 10_000
    """Records per poll."""
    idle_after: float = 5.0
    """Silence after which a caught-up partition no longer holds the watermark back."""
    session_timeout: float = 10.0
    """Silence after which the group gives a worker's partitions to others."""
    transaction_timeout: float = 12.0
    """After this the broker aborts a transaction that was left open, and readers move on."""


class Worker:
    """Runs one processor on the partitions that the group gives it, until told to stop."""

    def __init__(
        self,
        cluster: Cluster,
        processor: type[Any],
        vocabulary: Vocabulary,
        *,
        partitions: int,
        slot: int = 0,
        options: Options | None = None,
    ) -> None:
        self.cluster = cluster
        self.processor = processor
        self.vocabulary = vocabulary
        self.partitions = partitions
        self.slot = slot
        self.options = options or Options()
        self.alive_at = time.monotonic()
        """When the thread last came round; the watchdog looks at it from outside."""
        self.done = False
        self.done = False

    @property
    def name(self) -> str:
        """Application and slot."""
        return f"{self.processor.name}-{self.slot}"

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``. Raises Fatal when no retry can help; heals everything else by starting a new session."""
        pause = 0.1
        while not stop.is_set():
            began = time.monotonic()
            try:
                session = Session(self)
                try:
                    session.work(stop)
                finally:
                    session.close()
            except (Migrated, Corrupted) as error:
                verdict = type(error).__name__.lower()
                metrics.aborts.labels(self.processor.name, verdict).inc()
                pause = 0.1 if time.monotonic() - began > 30 else min(pause * 2, 5.0)
                log.warning("starting anew", worker=self.name, verdict=verdict, why=str(error), pause_seconds=pause)
                stop.wait(pause)


class Session:
    """One life of a worker's consumer and producer; ends when they are fenced or can no longer be trusted."""

    def __init__(self, worker: Worker) -> None:
        cluster, processor, options = worker.cluster, worker.processor, worker.options
        self._worker = worker
        self._cluster = cluster
        self._options = options
        self._application: str = processor.name
        self._topics: dict[str, TopicPort] = {cluster.named(t.name): t for t in processor.reads}
        self._lead = cluster.named(processor.reads[0].name)
        self._changelog = cluster.named(changelog_of(processor.name))
        self._request_timeout = options.transaction_timeout
        self._tasks: dict[int, Task] = {}
        self._loading: dict[int, dict[str, int]] = {}
        self._caught_up: dict[tuple[str, int], float] = {}
        self._restoration = Restoration(cluster, processor.name, self._request_timeout)
        self._transactions = Transactions(
            cluster, worker.name, worker.partitions, int(options.transaction_timeout * 1000)
        )
        self._callback_error: EngineError | None = None
        self._committed_at = time.monotonic()
        self._housekeeping_at = 0.0
        self._consumer: Consumer = cluster.reader(
            processor.name,
            group_instance_id=cluster.named(worker.name),
            partition_assignment_strategy="cooperative-sticky",
            session_timeout_ms=int(options.session_timeout * 1000),
            heartbeat_interval_ms=int(options.session_timeout * 1000 / 10),
            # Every position is set from the committed offsets; one that is gone from the log must stop us.
            auto_offset_reset="error",
            enable_partition_eof=True,
            fetch_message_max_bytes=4 << 20,
            queued_min_messages=200_000,
            queued_max_messages_kbytes=32_768,
            fetch_wait_max_ms=100,
        )
        self._consumer.subscribe(
            [self._lead], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    # --- the loop ----------------------------------------------------------------------------------------------

    def work(self, stop: threading.Event) -> None:
        """Poll, process, commit, until ``stop``; then commit what is waiting."""
        while not stop.is_set():
            self._worker.alive_at = time.monotonic()
            try:
                self._step()
            except Abortable as error:
                self._rewind(error)
            except KafkaException as error:
                raise classify(error, "talking to Kafka") from error
        self._commit()

    def _step(self) -> None:
        messages = self._consumer.consume(1, self._patience())
        if messages:
            messages += self._consumer.consume(self._options.batch - 1, 0)
        if self._callback_error is not None:
            error, self._callback_error = self._callback_error, None
            raise error
        if self._restoration:
            for task in self._restoration.step(0.0 if messages else 0.05):
                self._load(task)
        if messages:
            self._process(messages)
        now = time.time_ns() // 1000
        for partition, task in self._tasks.items():
            if partition not in self._loading:
                task.tick(now)
        if self._due(len(messages)):
            self._commit()
        if time.monotonic() > self._housekeeping_at:
            self._keep_house(now)

    def _process(self, messages: list[Message]) -> None:
        if any(map(Message.error, messages)):
            messages = self._sort_out(messages)
        metrics.batch_records.labels(self._application).observe(len(messages))
        run: Iterable[Any]
        for topic, run in groupby(messages, _topic_of):
            for partition, part in groupby(run, _partition_of):
                batch: list[Any] = list(part)
                task = self._tasks.get(partition)
                if task is None:
                    continue  # revoked while these were on their way: they are the new owner's
                known = self._topics[topic]
                expected = task.offsets[known.name]
                if batch[0].offset() < expected:
                    batch = [message for message in batch if message.offset() >= expected]
                if not batch:
                    continue
                task.feed(known, batch)
                metrics.records.labels(self._application, known.name).inc(len(batch))
                if partition in self._loading:
                    self._note_loaded(task, topic, task.offsets[known.name])

    def _sort_out(self, messages: list[Message]) -> list[Message]:
        good: list[Message] = []
        now = time.monotonic()
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
                continue
            topic, partition = message.topic() or "", message.partition() or 0
            if error.code() == KafkaError._PARTITION_EOF:
                self._caught_up[topic, partition] = now
                if partition in self._loading:
                    self._note_loaded(self._tasks[partition], topic, message.offset() or 0)
            else:
                raise classify(error, f"consuming {topic}[{partition}]@{message.offset()}")
        return good

    def _patience(self) -> float:
        if self._restoration:
            return 0.0
        wait = 0.1
        if any(task.waiting for task in self._tasks.values()):
            wait = max(0.0, self._committed_at + self._options.quiet_interval - time.monotonic())
        timers = [due for task in self._tasks.values() if (due := task.timers.next_due(WALL)) is not None]
        if timers:
            wait = min(wait, max(0.0, min(timers) / 1e6 - time.time()))
        return wait

    def _due(self, polled: int) -> bool:
        if any(task.urgent for task in self._tasks.values()):
            return True
        since = time.monotonic() - self._committed_at
        drained = polled < self._options.batch // 10
        return since >= (self._options.quiet_interval if drained else self._options.commit_interval)

    # --- commit ------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        pending = [task for task in self._tasks.values() if task.waiting]
        if not pending:
            return
        began = time.perf_counter()
        drained = [(task, *task.drain()) for task in pending]
        offsets = [
            TopicPartition(self._cluster.named(topic), task.partition, offset)
            for task in pending
            for topic, offset in task.offsets.items()
        ]
        self._transactions.commit(
            (output for _, outputs, _ in drained for output in outputs),
            ((self._changelog, task.partition, k, v) for task, _, changes in drained for k, v in changes),
            offsets,
            self._consumer,
        )
        for task in pending:
            task.committed()
        self._committed_at = time.monotonic()
        metrics.commits.labels(self._application).inc()
        metrics.outputs.labels(self._application).inc(sum(len(outputs) for _, outputs, _ in drained))
        metrics.commit_seconds.labels(self._application).observe(time.perf_counter() - began)

    def _rewind(self, error: Abortable) -> None:
        log.warning(
            "transaction aborted, going back to the committed offsets", worker=self._worker.name, why=str(error)
        )
        metrics.aborts.labels(self._application, "abortable").inc()
        self._transactions.abort()
        for task in self._tasks.values():
            task.abort()
            for topic, offset in task.offsets.items():
                self._consumer.seek(TopicPartition(self._cluster.named(topic), task.partition, offset))
        self._committed_at = time.monotonic()

    # --- tasks come and go -------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        if not given:
            consumer.incremental_assign([])
            return
        partitions = [tp.partition for tp in given]
        places = [TopicPartition(name, p) for p in partitions for name in self._topics]
        try:
            # With read_committed this waits for a predecessor's transaction on these offsets to be decided.
            answer = consumer.committed(places, self._request_timeout)
        except KafkaException as error:
            raise classify(error, "reading the committed offsets") from error
        committed = {(tp.topic, tp.partition): tp.offset for tp in answer}
        fresh = [place for place, offset in committed.items() if offset < 0]
        committed |= {place: low for place, (low, _) in bounds(self._cluster, fresh, self._request_timeout).items()}
        for tp in places:
            tp.offset = committed[tp.topic, tp.partition]
        consumer.incremental_assign(places)
        consumer.pause(places)
        for partition in partitions:
            task = Task(
                self._worker.processor,
                partition,
                self._worker.vocabulary,
                named=self._cluster.named,
                value_of=Message.value,
                key_of=Message.key,
            )
            task.offsets = {topic.name: committed[name, partition] for name, topic in self._topics.items()}
            task.committed_offsets = dict(task.offsets)
            self._tasks[partition] = task
            self._loading[partition] = {}
        log.info("tasks assigned", worker=self._worker.name, partitions=partitions)
        for task in self._restoration.add(self._tasks[p] for p in partitions):
            self._load(task)

    def _load(self, task: Task) -> None:
        """State is there; now read the broadcast inputs to their present end, so that no decision misses a limit."""
        named = self._cluster.named
        control = [named(t.name) for t in self._topics.values() if t.broadcast]
        ends = bounds(self._cluster, [(name, task.partition) for name in control], self._request_timeout)
        waiting = {name: end for (name, _), (_, end) in ends.items() if task.offsets[self._topics[name].name] < end}
        self._loading[task.partition] = waiting
        if waiting:
            self._consumer.resume([TopicPartition(name, task.partition) for name in waiting])
        else:
            self._start(task)

    def _note_loaded(self, task: Task, topic: str, position: int) -> None:
        waiting = self._loading[task.partition]
        if topic in waiting and position >= waiting[topic]:
            del waiting[topic]
            if not waiting:
                self._start(task)

    def _start(self, task: Task) -> None:
        del self._loading[task.partition]
        self._consumer.resume([TopicPartition(name, task.partition) for name in self._topics])
        log.info("task running", worker=self._worker.name, partition=task.partition)

    def _on_revoke(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        try:
            self._commit()
        except EngineError as error:
            self._callback_error = error
        self._let_go(consumer, taken)

    def _on_lost(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        # Somebody else may own them already: nothing may be committed for them.
        log.warning("tasks lost", worker=self._worker.name, partitions=[tp.partition for tp in taken])
        self._callback_error = Migrated("the group gave our partitions away")
        self._let_go(consumer, taken)

    def _let_go(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        held: list[TopicPartition] = []
        for tp in taken:
            self._restoration.drop(tp.partition)
            self._loading.pop(tp.partition, None)
            if self._tasks.pop(tp.partition, None) is None:
                held.append(tp)  # its assignment failed half-way: only the lead was assigned
            else:
                held += [TopicPartition(name, tp.partition) for name in self._topics]
        consumer.incremental_unassign(held)
        if taken:
            log.info("tasks let go", worker=self._worker.name, partitions=[tp.partition for tp in taken])

    # --- house -------------------------------------------------------------------------------------------------

    def _keep_house(self, now: int) -> None:
        self._housekeeping_at = time.monotonic() + 1.0
        for partition, task in self._tasks.items():
            metrics.state_keys.labels(self._application, partition).set(task.keys)
            for name, topic in self._topics.items():
                tp = TopicPartition(name, partition)
                silent = time.monotonic() - self._caught_up.get((name, partition), time.monotonic())
                try:
                    _, high = self._consumer.get_watermark_offsets(tp, cached=True)
                except KafkaException:
                    continue  # nothing fetched from it yet
                behind = max(0, high - task.offsets[topic.name])
                metrics.lag.labels(self._application, topic.name, partition).set(behind)
                if partition not in self._loading and silent > self._options.idle_after:
                    task.idle(topic, now)
        running = len(self._tasks) - len(self._loading)
        metrics.tasks.labels(self._application, self._worker.slot, "running").set(running)
        metrics.tasks.labels(self._application, self._worker.slot, "restoring").set(len(self._loading))

    def close(self) -> None:
        """Let go of everything; what is uncommitted is lost with the session, and nobody has seen it."""
        self._tasks.clear()
        self._loading.clear()
        self._restoration.close()
        self._transactions.discard()
        self._consumer.close()
