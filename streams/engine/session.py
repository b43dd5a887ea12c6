"""One life of a worker's consumer and producer, in one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import KafkaException, Message, TopicPartition

from streams.engine import messages as fetched
from streams.engine import metrics
from streams.engine.cluster import BULK
from streams.engine.errors import Abortable, EngineError, Migrated, Replaced, classify
from streams.engine.housekeeping import Housekeeping
from streams.engine.layout import changelog_of
from streams.engine.members import Members
from streams.engine.outside import Consumer, Stop
from streams.engine.ownership import Ownership
from streams.engine.stamps import stamp
from streams.engine.task import Task
from streams.engine.timers import WALL
from streams.engine.transactions import Change, Transactions

if TYPE_CHECKING:
    from streams.engine.worker import Worker

log = structlog.get_logger(__name__)
_topic_of: Callable[[Any], str] = Message.topic  # type: ignore[assignment]  # a consumed message always has these
_partition_of: Callable[[Any], int] = Message.partition  # type: ignore[assignment]
_BEATS = 10
"""Heartbeats in a session timeout."""
_FAREWELL = 2.0
"""Seconds for leaving the group; a group that does not answer notices by the session timeout."""


class Session:
    """Ends when its consumer or producer is fenced or can no longer be trusted; the worker then starts the next one.

    Raises Fatal or Corrupted when Kafka does not let it begin.
    """

    def __init__(self, worker: Worker) -> None:
        cluster, processor, options = worker.cluster, worker.processor, worker.options
        self._worker = worker
        self._options = options
        self._clock = worker.clock
        self._application: str = processor.name
        self._changelog = cluster.named(changelog_of(processor.name))
        self._callback_error: EngineError | None = None
        self._over = False
        self._committed_at = self._clock.monotonic()
        self._standbys = worker.standbys
        self._members = Members(cluster.admin, self._clock, cluster.named(processor.name), cluster.named(worker.name))
        self._own = Ownership(
            cluster, processor, worker.make, worker.standbys, worker.partitions, options.transaction_timeout
        )
        self._house = Housekeeping(worker, self._own, self._members)
        self._transactions = Transactions(
            cluster,
            worker.name,
            worker.partitions,
            int(options.transaction_timeout * 1000),
            changelog=changelog_of(processor.name),
        )
        try:
            self._consumer: Consumer = cluster.reader(
                processor.name,
                group_instance_id=cluster.named(worker.name),
                client_id=worker.identity,
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=int(options.session_timeout * 1000),
                heartbeat_interval_ms=int(options.session_timeout * 1000 / _BEATS),
                # Every position is set from the committed offsets; one that is gone from the log must stop us.
                auto_offset_reset="error",
                enable_partition_eof=True,
                fetch_wait_max_ms=100,
                **BULK,
            )
            self._consumer.subscribe(
                [cluster.named(processor.reads[0].name)],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            self._own.meet(self._consumer)
        except KafkaException as error:
            raise classify(error, f"joining the group {cluster.named(processor.name)}") from error

    # --- the loop ----------------------------------------------------------------------------------------------

    def work(self, stop: Stop) -> None:
        """Poll, process, commit, until ``stop``; then commit what is waiting and leave the group."""
        while not stop.is_set():
            self._worker.alive_at = self._clock.monotonic()
            try:
                try:
                    self._step()
                except Abortable as error:
                    self._rewind(error)
            except KafkaException as error:
                raise classify(error, "talking to Kafka") from error
        self._standbys.close()  # so that none is made of the tasks that now end
        try:
            self._commit()
        except Abortable as error:
            log.warning("last transaction aborted; it is done again at the next start", why=str(error))
        self._leave()

    def _step(self) -> None:
        messages = self._poll()
        self._own.advance(self._consumer, 0.0 if messages else 0.05)
        if messages:
            self._process(messages)
        self._standbys.step()
        now = self._clock.time_ns() // 1000
        for _, task in self._own.running():
            task.tick(now)
        if self._due(len(messages)):
            self._commit()
        if self._house.keep(self._consumer, now):
            self._make_way()

    def _poll(self) -> list[Message]:
        """One record is waited for, then all that is there is taken: a batch alone would wait until it is full."""
        self._own.newly.clear()
        messages = self._consumer.consume(1, self._patience())
        if messages:
            messages = fetched.joined(messages, self._consumer.consume(self._options.batch - 1, 0))
        if self._callback_error is not None:
            error, self._callback_error = self._callback_error, None
            raise fetched.replaced_among(messages) or error
        if self._own.newly:
            # Given within this poll and still paused: these were fetched in an earlier time of owning them. An error
            # is told only once, though.
            messages = [m for m in messages if m.partition() not in self._own.newly or fetched.is_failure(m)]
        return messages

    def _process(self, messages: list[Message]) -> None:
        ends: list[Message] = []
        if any(map(Message.error, messages)):
            messages, ends = fetched.sorted_out(messages)
        if messages:
            metrics.batch_records.labels(self._application).observe(len(messages))
        run: Iterable[Any]
        for name, run in groupby(messages, _topic_of):
            topic = self._own.topics[name]
            for partition, part in groupby(run, _partition_of):
                task = self._own.tasks.get(partition)
                if task is None:
                    continue  # revoked while these were on their way: they are the new owner's
                batch: list[Any] = list(part)
                expected = task.offsets[topic.name]
                if batch[0].offset() < expected:
                    batch = [message for message in batch if message.offset() >= expected]
                    if not batch:
                        continue
                task.feed(topic, batch)
                self._house.left_end(name, partition)
                metrics.records.labels(self._application, topic.name).inc(len(batch))
                self._own.note(self._consumer, partition, name, task.offsets[topic.name])
        for end in ends:
            self._note_end(end)

    def _note_end(self, end: Message) -> None:
        """The end of a partition was reached: behind it there is nothing but what came after, if anything did."""
        name, partition, position = _topic_of(end), _partition_of(end), end.offset() or 0
        task = self._own.tasks.get(partition)
        if task is None:
            return
        topic = self._own.topics[name]
        if position >= task.offsets[topic.name]:
            # Over the markers of transactions too, which the broker may delete as it does records.
            task.offsets[topic.name] = position
            self._house.reached_end(name, partition)
            self._own.note(self._consumer, partition, name, position)

    def _patience(self) -> float:
        if self._own.restoring or self._standbys.behind:
            return 0.0
        wait = 0.1
        if any(task.waiting for task in self._own.tasks.values()):
            wait = max(0.0, self._committed_at + self._interval(drained=True) - self._clock.monotonic())
        timers = [due for _, task in self._own.running() if (due := task.timers.next_due(WALL)) is not None]
        if timers:
            wait = min(wait, max(0.0, min(timers) / 1e6 - self._clock.time_ns() / 1e9))
        return wait

    def _due(self, polled: int) -> bool:
        if any(task.urgent for task in self._own.tasks.values()):
            return True
        since = self._clock.monotonic() - self._committed_at
        return since >= self._interval(drained=polled < self._options.batch // 10)

    def _interval(self, *, drained: bool) -> float:
        """Nobody sees a commit without outputs, so it need not be soon: it would only cost the broker."""
        seen = drained and any(task.has_outputs for task in self._own.tasks.values())
        return self._options.quiet_interval if seen else self._options.commit_interval

    # --- commit ------------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        pending = [task for task in self._own.tasks.values() if task.waiting]
        if not pending:
            return
        began = self._clock.monotonic()
        drained = [(task, *task.drain()) for task in pending]
        offsets = [
            TopicPartition(
                name, task.partition, task.offsets[topic.name], self._own.identities.mark(name, task.commits)
            )
            for task in pending
            for name, topic in self._own.topics.items()
        ]
        self._transactions.commit(
            (output for _, outputs, _ in drained for output in outputs),
            (change for task, _, changes in drained for change in self._changelog_of(task, changes)),
            offsets,
            self._consumer,
        )
        for task in pending:
            task.committed()
        self._committed_at = self._clock.monotonic()
        metrics.commits.labels(self._application).inc()
        metrics.outputs.labels(self._application).inc(sum(len(outputs) for _, outputs, _ in drained))
        metrics.commit_seconds.labels(self._application).observe(self._clock.monotonic() - began)

    def _changelog_of(self, task: Task, changes: list[tuple[bytes, bytes | None]]) -> Iterator[Change]:
        commit = stamp(task.commits)
        for key, value in changes[:-1]:
            yield self._changelog, task.partition, key, value, commit, None
        if changes:
            report = task.delivered if self._worker.stores.keep or self._options.standbys else None
            yield self._changelog, task.partition, *changes[-1], commit, report

    def _rewind(self, error: Abortable) -> None:
        log.warning(
            "transaction aborted, going back to the committed offsets", worker=self._worker.name, why=str(error)
        )
        metrics.aborts.labels(self._application, "abortable").inc()
        self._transactions.abort()
        self._house.forget()
        self._own.rewind(self._consumer)
        self._committed_at = self._clock.monotonic()

    # --- tasks come and go: called from within consume() and close() -------------------------------------------

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        partitions = [tp.partition for tp in given]
        if self._over or not partitions:
            with self._contained("being given nothing"):
                consumer.incremental_assign([])
            return
        self._transactions.check_member(consumer.memberid())
        try:
            self._own.give(consumer, partitions)
        except KafkaException as error:
            raise classify(error, f"taking over partitions {partitions}") from error
        log.info("tasks assigned", worker=self._worker.name, partitions=partitions)

    def _on_revoke(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        if not self._over:
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
        partitions = [tp.partition for tp in taken]
        with self._contained(f"giving up partitions {partitions}"):
            self._own.take(consumer, partitions)
        self._house.forget(partitions)
        if partitions:
            log.info("tasks let go", worker=self._worker.name, partitions=partitions)

    @contextmanager
    def _contained(self, doing: str) -> Iterator[None]:
        """Keep the client's errors within a callback, for ``_poll`` to raise.

        One that leaves it untouched is raised again as a bare KafkaError by the client (2.16, on Python before 3.12),
        and that is no exception: no ``except`` clause would ever catch it. As when a consumer that is closing has
        nothing left to be asked for.
        """
        try:
            yield
        except KafkaException as error:
            self._callback_error = classify(error, doing)

    # --- the end -----------------------------------------------------------------------------------------------

    def _make_way(self) -> None:
        """Leave when the group has left partitions to nobody, so that it spreads them anew. Raises Migrated then."""
        if self._members.abandoned:
            self._commit()
            self._leave()
            raise Migrated(
                f"the group has left partitions {self._members.abandoned} to nobody, "
                "which can happen when all members are gone at once; left it to make it spread them anew"
            )

    def _leave(self) -> None:
        """Give the partitions to the others now.

        A static member that only closes is kept in the group until its session times out, and its partitions with it;
        one that unsubscribes first is taken out at once. What is read meanwhile is the next owner's.
        """
        self._over = True
        self._consumer.unsubscribe()
        deadline = self._clock.monotonic() + _FAREWELL
        while self._own.tasks and self._clock.monotonic() < deadline:
            self._consumer.consume(1, 0.05)

    def verdict(self, error: Migrated) -> Migrated:
        """Why this session was fenced: Replaced when somebody has taken its place in the group, else ``error``.

        Who takes it over fences the producer first, the consumer only at its next heartbeat.
        """
        self._over = True
        deadline = self._clock.monotonic() + 2.5 * self._options.session_timeout / _BEATS
        while not isinstance(error, Replaced) and self._clock.monotonic() < deadline:
            error = fetched.replaced_among(self._consumer.consume(1, 0.1)) or error
        return error

    def close(self, *, successor: bool) -> None:
        """Let go of everything. What is uncommitted is lost with the session, and nobody has seen it.

        ``successor``: another session of this worker follows, and will fence what this one left open.
        """
        self._over = True
        self._transactions.close(successor=successor)
        try:
            self._consumer.close()
        except KafkaException as error:
            log.warning("consumer did not close cleanly", worker=self._worker.name, why=str(error))
        self._own.close()
        self._house.close()
