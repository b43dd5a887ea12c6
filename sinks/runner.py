"""Runs sinks: reads, hands over, and tells Kafka how far only when the destination has it. At least once, in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import MsgspecError

from schemas import cloudevents
from schemas.base import Coordinates
from sinks import metrics
from sinks.backoff import delay
from sinks.closing import close
from sinks.letters import Letters
from sinks.sink import Delivery, Disabled, Refused, Service, Sink, Unavailable
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)

_POLL = 0.2
_LAG_EVERY = 1.0
_STOP_SECONDS = 5.0
_LONGEST_WAIT = 3600.0


def run_sinks(cluster: Cluster, sinks: Sequence[Sink | Service], stop: threading.Event) -> None:
    """Run each sink in a thread of its own until ``stop`` is set, then return within 5 s.

    A sink that fails as a whole is logged and started anew with growing waits; the others do not notice. A sink that
    is still busy 5 s after ``stop`` is left behind: what it has not delivered is uncommitted and comes again.
    """
    threads = [
        threading.Thread(target=_keep_running, args=(cluster, sink, stop), name=f"sink-{sink.name}", daemon=True)
        for sink in sinks
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    deadline = time.monotonic() + _STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            log.warning("left behind while still busy; what it has not delivered comes again", thread=thread.name)


def _keep_running(cluster: Cluster, sink: Sink | Service, stop: threading.Event) -> None:
    failures = 0
    while not stop.is_set():
        began = time.monotonic()
        try:
            if isinstance(sink, Service):
                sink.run(cluster, stop)
            else:
                run_sink(cluster, sink, stop)
        except Exception:
            # Outermost edge of this thread: one sink must not stop the others, and never ends unseen.
            failures = 1 if time.monotonic() - began > 60 else failures + 1
            wait = delay(failures)
            metrics.RESTARTS.labels(sink.name).inc()
            metrics.UP.labels(sink.name).set(0)
            log.exception(
                "a sink failed and starts again from what is committed", sink=sink.name, seconds=round(wait, 1)
            )
            stop.wait(wait)
        else:
            return


def run_sink(cluster: Cluster, sink: Sink, stop: threading.Event) -> None:
    """Deliver the topics of ``sink`` until ``stop`` is set or the destination ends it, then return within 5 s.

    A record that cannot be read, that the destination refuses, or that fails ``sink.attempts`` times becomes a dead
    letter. Records without a value (deletions on compacted topics) are passed over. Raises KafkaException when Kafka
    refuses the consumer.
    """
    _Run(cluster, sink, stop).run()


class _Run:
    """One life of a sink: its consumer, and what it has read and not yet delivered."""

    def __init__(self, cluster: Cluster, sink: Sink, stop: threading.Event) -> None:
        self._cluster = cluster
        self._sink = sink
        self._stop = stop
        self._pending: deque[Delivery] = deque()
        self._oldest = 0.0
        self._failed = 0
        # (topic, partition): a message that was fetched just before its partition was taken away is not ours any more.
        self._owned: set[tuple[str, int]] = set()
        # Per (topic, partition): the offset after the last one read, and the one that was last stored for commit.
        self._read: dict[tuple[str, int], int] = {}
        self._stored: dict[tuple[str, int], int] = {}
        self._topics = {cluster.named(topic.name): topic for topic in sink.topics}
        self._letters = Letters(cluster, sink.name)
        self._lag_told = 0.0
        # librdkafka commits what was stored, in the background, on a rebalance and on close; a commit that waits for
        # an answer would hang for 45 s when Kafka is away. Offsets are stored only after delivery.
        self._consumer: Consumer = cluster.reader(
            f"sink-{sink.name}",
            partition_assignment_strategy="cooperative-sticky",
            enable_auto_commit=True,
            auto_commit_interval_ms=200,
            enable_partition_eof=True,
            queued_max_messages_kbytes=16_384,
        )

    def run(self) -> None:
        """See :func:`run_sink`."""
        self._consumer.subscribe(list(self._topics), on_assign=self._come, on_revoke=self._gone, on_lost=self._gone)
        metrics.UP.labels(self._sink.name).set(1)
        try:
            while not self._stop.is_set():
                self._fill()
                if self._due():
                    self._hand_over()
                self._store()
                self._tell_lag()
            self._last_one()
        except _Stopped:
            self._store()
        except Disabled as error:
            self._settle(error.done)
            self._store()
            log.critical(
                "the destination wants nothing more; the sink ends and its records stay in Kafka",
                sink=self._sink.name,
                reason=str(error),
            )
        finally:
            metrics.UP.labels(self._sink.name).set(0)
            close(self._consumer, self._sink.name)

    def _fill(self) -> None:
        room = self._sink.batch_rows - len(self._pending)
        if room <= 0:
            return
        # The first as soon as it is there, the others only if they are there too: consume() waits for all it can.
        messages = self._consumer.consume(1, _POLL)
        if messages and room > 1:
            messages += self._consumer.consume(room - 1, 0)
        for message in messages:
            self._take(message)

    def _due(self) -> bool:
        waited = time.monotonic() - self._oldest
        full = len(self._pending) >= self._sink.batch_rows
        return bool(self._pending) and (full or waited >= self._sink.batch_seconds)

    def _take(self, message: Message) -> None:
        name, partition, offset = message.topic(), message.partition(), message.offset()
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.fatal():
                raise KafkaException(error)
            log.warning("Kafka reports", sink=self._sink.name, topic=name, partition=partition, error=error.str())
            return
        if name is None or partition is None or offset is None or (name, partition) not in self._owned:
            return
        if error is not None:  # the end of the partition
            self._read[name, partition] = offset
            metrics.LAG.labels(self._sink.name, self._cluster.bare(name), str(partition)).set(0)
            return
        topic, at = self._topics[name], Coordinates(topic=name, partition=partition, offset=offset)
        raw, key = message.value(), (message.key() or b"").decode("utf-8", "backslashreplace")
        time_ = max(0, message.timestamp()[1]) * 1000
        if raw is not None:
            try:
                record = topic.decode(raw)
            except (MsgspecError, ValueError) as problem:
                # MsgspecError: the JSON or its types; ValueError: what a record's own check refuses, bad UTF-8.
                self._bury(at, topic.name, key, raw, time_, f"no valid {topic.kind}: {problem}")
            else:
                if not self._pending:
                    self._oldest = time.monotonic()
                found = message.headers()
                headers = cloudevents.read(found if isinstance(found, list) else None)
                self._pending.append(Delivery(topic, record, at, key, headers, raw, time_))
        self._read[name, partition] = offset + 1

    def _hand_over(self) -> None:
        """Deliver what is pending, or be stopped. Leaves in ``_pending`` what is not delivered."""
        while self._pending and not self._stop.is_set():
            try:
                self._sink.handle(list(self._pending), self._stop)
            except Unavailable as problem:
                self._settle(problem.done)
                if self._pending:
                    self._retry(problem)
            except Refused as problem:
                self._settle(problem.done)
                self._give_up(problem.delivery, str(problem))
            else:
                self._settle(len(self._pending))
            self._store()

    def _last_one(self) -> None:
        """One attempt for what was still being collected; whatever does not go now comes again after the restart."""
        if self._pending:
            try:
                self._sink.handle(list(self._pending), self._stop)
            except (Unavailable, Refused) as problem:
                self._settle(problem.done)
            else:
                self._settle(len(self._pending))
            self._store()

    def _settle(self, done: int) -> None:
        """The first ``done`` pending deliveries are with the destination."""
        for _ in range(done):
            metrics.DELIVERED.labels(self._sink.name, self._pending.popleft().topic.name).inc()
        if done:
            self._failed = 0
            metrics.UP.labels(self._sink.name).set(1)

    def _retry(self, problem: Unavailable) -> None:
        if self._stop.is_set():
            return
        self._failed += 1
        head = self._pending[0]
        limit = self._sink.attempts
        if limit is not None and self._failed >= limit:
            self._give_up(head, f"{self._failed} attempts failed; the last one: {problem}")
            return
        metrics.RETRIES.labels(self._sink.name).inc()
        metrics.UP.labels(self._sink.name).set(0)
        seconds = max(delay(self._failed), min(problem.after or 0.0, _LONGEST_WAIT))
        log.warning(
            "not delivered; it is tried again",
            sink=self._sink.name,
            reason=str(problem),
            record=str(head.at),
            attempt=self._failed,
            of=limit,
            seconds=round(seconds, 1),
        )
        self._wait(seconds)

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        if delivery in self._pending:
            self._bury(delivery.at, delivery.topic.name, delivery.key, delivery.raw, delivery.time, reason)
        if delivery in self._pending:  # a rebalance while burying may have taken it away
            self._pending.remove(delivery)
        self._failed = 0

    def _bury(self, at: Coordinates, topic: str, key: str, raw: bytes, kafka_time: int, reason: str) -> None:
        """Write the dead letter, however long it takes: what is not put aside safely must not be passed over."""
        attempt = 0
        while True:
            try:
                self._letters.write(at, key, raw, kafka_time, reason)
            except Unavailable as problem:
                attempt += 1
                log.warning("a dead letter waits for Kafka", sink=self._sink.name, reason=str(problem))
                if self._stop.wait(delay(attempt, ceiling=5.0)):
                    raise _Stopped from problem
            else:
                break
        metrics.DEAD_LETTERS.labels(self._sink.name, topic).inc()
        log.warning("put aside as a dead letter", sink=self._sink.name, record=str(at), key=key, reason=reason)

    def _wait(self, seconds: float) -> None:
        """Wait without reading on, and stay a member of the group: a consumer that does not poll is thrown out."""
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and (left := deadline - time.monotonic()) > 0:
            # Again each time: a rebalance brings partitions that are not paused.
            self._consumer.pause(self._consumer.assignment())
            for message in self._consumer.consume(1, min(_POLL, left)):
                self._take(message)
        self._consumer.resume(self._consumer.assignment())

    def _come(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._owned |= {(one.topic, one.partition) for one in partitions}

    def _gone(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions were taken away: their new owner delivers what was not delivered here."""
        gone = {(one.topic, one.partition) for one in partitions}
        self._pending = deque(one for one in self._pending if (one.at.topic, one.at.partition) not in gone)
        self._owned -= gone
        self._failed = 0
        for name, partition in gone:
            self._read.pop((name, partition), None)
            self._stored.pop((name, partition), None)
            metrics.LAG.remove(self._sink.name, self._cluster.bare(name), str(partition))

    def _store(self) -> None:
        """Let Kafka know, per partition, the offset before which everything is delivered or buried."""
        upto = dict(self._read)
        for delivery in self._pending:
            place = (delivery.at.topic, delivery.at.partition)
            upto[place] = min(upto[place], delivery.at.offset)
        news = {place: offset for place, offset in upto.items() if offset > self._stored.get(place, OFFSET_INVALID)}
        if not news:
            return
        try:
            self._consumer.store_offsets(offsets=[TopicPartition(*place, offset) for place, offset in news.items()])
        except KafkaException as error:
            # A rebalance is on its way: tried again in the next round, as far as the partition is still ours.
            log.info("offsets not stored", sink=self._sink.name, error=str(error))
        else:
            self._stored |= news

    def _tell_lag(self) -> None:
        if time.monotonic() - self._lag_told < _LAG_EVERY:
            return
        self._lag_told = time.monotonic()
        for (name, partition), position in self._read.items():
            _low, high = self._consumer.get_watermark_offsets(TopicPartition(name, partition), cached=True)
            # At the end of a partition the position stands behind Kafka's own markers: _take says 0 there.
            if high > position + 1:
                metrics.LAG.labels(self._sink.name, self._cluster.bare(name), str(partition)).set(high - position)


class _Stopped(Exception):
    """Stopped while a dead letter waited for Kafka."""
