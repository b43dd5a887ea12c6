"""The simulated venue: orders in, fills out, at the touch of the live ticks. Each order is decided exactly once.

Fills and the orders' offsets are committed in one Kafka transaction. An order that waits does not hold up those behind
it: what is still undecided below the read position is kept in the commit's metadata, so after a crash no order is
filled a second time at another price.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message, TopicPartition
from msgspec import MsgspecError

from schemas import cloudevents, topics
from schemas.base import Coordinates
from schemas.fills import Fill
from schemas.orders import Order
from schemas.ticks import Tick
from schemas.topics import R, Topic
from sinks import metrics
from sinks.closing import close
from sinks.config import VenueConfig
from sinks.letters import letter_of
from sinks.matching import Ended, Touch, decide, problem
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)

_MOST_WAITING = 200
"""Orders per partition at which no more are read, and messages of one poll: the offsets of twice as many must fit into
a commit's metadata (4096 bytes)."""
_IDLE_COMMIT = 1.0
_TIMEOUT = 10.0


class Venue:
    """A service for :func:`sinks.runner.run_sinks`. One at a time: a second one fences the first."""

    name = "venue"

    def __init__(self, config: VenueConfig, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._config = config
        self._clock = clock

    def run(self, cluster: Cluster, stop: threading.Event) -> None:
        """Decide orders until ``stop`` is set.

        Raises KafkaException when a transaction fails, whatever the reason: its outcome may be unknown, and only a new
        session, which fences this one and reads again what is committed, can tell.
        """
        session = _Session(cluster, self._config, self._clock)
        metrics.UP.labels(self.name).set(1)
        try:
            while not stop.is_set():
                session.step()
            session.commit()
        finally:
            metrics.UP.labels(self.name).set(0)
            session.close()


@dataclass
class Progress:
    """What is decided in one partition of the orders: all below ``position`` but ``waiting`` and ``again``."""

    position: int
    waiting: dict[int, tuple[Order, int]] = field(default_factory=dict)
    """Offset → order and when it was first seen."""
    again: set[int] = field(default_factory=set)
    """Offsets below ``position`` that were undecided at the last commit and are yet to be read again."""

    @property
    def low(self) -> int:
        """The lowest undecided offset: what is committed."""
        return min(self.waiting.keys() | self.again, default=self.position)

    def metadata(self) -> str:
        """What :meth:`resumed` needs beside ``low``: how far was read and what is undecided, counted from ``low``."""
        low = self.low
        undecided = sorted(self.waiting.keys() | self.again)
        return f"{self.position - low}:{','.join(str(offset - low) for offset in undecided)}"

    @classmethod
    def resumed(cls, low: int, metadata: str | None) -> Progress:
        """As committed. Without readable metadata every order from ``low`` on is decided (again), with its old id."""
        if low < 0:
            return cls(0)
        try:
            span, _, waiting = (metadata or "0:").partition(":")
            return cls(low + int(span), again={low + int(one) for one in waiting.split(",") if one})
        except ValueError:
            log.warning("the committed metadata cannot be read; orders may be filled again", metadata=metadata)
            return cls(low)

    def is_new(self, offset: int) -> bool:
        """Whether the order at ``offset`` has not been decided yet."""
        return offset >= self.position or offset in self.again

    def read(self, offset: int) -> None:
        """``offset`` has been read; undecided ones before it that did not come are no longer in Kafka."""
        self.again = {one for one in self.again if one > offset}
        self.position = max(self.position, offset + 1)


class _Session:
    """One life of the venue, from fencing its predecessor to the first error."""

    def __init__(self, cluster: Cluster, config: VenueConfig, clock: Callable[[], int]) -> None:
        self._cluster = cluster
        self._config = config
        self._clock = clock
        self._touch = Touch(config.venue)
        self._fills: list[Fill] = []
        self._letters: list[tuple[Coordinates, str, bytes, int, str]] = []
        self._ended: list[tuple[str, Order]] = []
        self._committed_at = time.monotonic()
        self._paused: set[int] = set()
        self._orders = cluster.named(topics.orders.name)
        self._ticks = cluster.named(topics.ticks.name)
        # First fence: from here on a predecessor cannot commit any more, and what it left open is aborted.
        self._producer = cluster.publisher(
            topics.fills.name,
            transactional_id=cluster.named(f"sink-venue-{config.venue}"),
            transaction_timeout_ms=int(_TIMEOUT * 1000),
            message_timeout_ms=int(_TIMEOUT * 800),
            linger_ms=0,
            # The broker answers CONCURRENT_TRANSACTIONS for some ms after each commit; with the default waits of
            # 100 ms and more that, not the commit, would be what an order waits for.
            retry_backoff_ms=2,
            retry_backoff_max_ms=10,
        )
        self._producer.init_transactions(_TIMEOUT)
        self._consumer = cluster.reader("sink-venue", queued_max_messages_kbytes=16_384)
        try:
            self._progress = self._resume()
        except KafkaException:
            self.close()
            raise
        self._stored = {p: (one.low, one.metadata()) for p, one in self._progress.items()}

    def _resume(self) -> dict[int, Progress]:
        orders = self._partitions(self._orders)
        committed = self._consumer.committed([TopicPartition(self._orders, p) for p in orders], _TIMEOUT)
        progress = {}
        starts = []
        for one in committed:
            if one.error is not None:
                raise KafkaException(one.error)
            progress[one.partition] = Progress.resumed(one.offset, one.metadata)
            starts.append(
                TopicPartition(self._orders, one.partition, one.offset if one.offset >= 0 else OFFSET_BEGINNING)
            )
        starts += [TopicPartition(self._ticks, p, OFFSET_END) for p in self._partitions(self._ticks)]
        # Assigned, not subscribed: there is one venue, and the transactional id, not the group, keeps it one.
        self._consumer.assign(starts)
        return progress

    def _partitions(self, topic: str) -> list[int]:
        found = self._consumer.list_topics(topic, _TIMEOUT).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    def step(self) -> None:
        """Read what is there, decide what can be decided, and commit it."""
        messages = self._consumer.consume(1, 0.05)
        if messages:
            # No more than may wait: without a tick yet, all of a poll's orders wait, and a commit has to name each.
            messages += self._consumer.consume(_MOST_WAITING - 1, 0)
        ticks: list[Tick] = []
        for message in messages:
            self._read(message, ticks)
        self._touch.update(ticks)
        self._decide()
        if self._fills or self._letters or time.monotonic() - self._committed_at > _IDLE_COMMIT:
            self.commit()

    def _read(self, message: Message, ticks: list[Tick]) -> None:
        error, raw = message.error(), message.value()
        partition, offset = message.partition(), message.offset()
        if error is not None:
            if error.fatal() or error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
        elif message.topic() == self._ticks:
            try:
                if raw is not None:
                    ticks.append(topics.ticks.decode(raw))
            except (MsgspecError, ValueError):
                pass  # the positions processor, which reads the same ticks, makes the dead letter
        elif partition is not None and offset is not None:
            progress = self._progress[partition]
            if progress.is_new(offset) and raw is not None:
                self._take(message, raw, Coordinates(topic=self._orders, partition=partition, offset=offset))
            progress.read(offset)

    def _take(self, message: Message, raw: bytes, at: Coordinates) -> None:
        key, time_ = (message.key() or b"").decode("utf-8", "backslashreplace"), max(0, message.timestamp()[1]) * 1000
        try:
            order = topics.orders.decode(raw)
            reason = problem(order)
        except (MsgspecError, ValueError) as error:
            reason = f"no valid order: {error}"
        if reason:
            self._letters.append((at, key, raw, time_, reason))
            return
        waiting = self._progress[at.partition].waiting
        waiting[at.offset] = (order, self._clock())
        if len(waiting) >= _MOST_WAITING and at.partition not in self._paused:
            self._paused.add(at.partition)
            self._consumer.pause([TopicPartition(self._orders, at.partition)])
            log.warning("too many orders wait; no more are read from the partition", partition=at.partition)

    def _decide(self) -> None:
        now = self._clock()
        for partition, progress in self._progress.items():
            for offset, (order, arrived) in list(progress.waiting.items()):
                outcome = decide(order, arrived, self._touch.get(order.instrument), now, self._config)
                if outcome is None:
                    continue
                del progress.waiting[offset]
                if isinstance(outcome, Ended):
                    self._ended.append((outcome.outcome, order))
                    if outcome.outcome == "expired":
                        log.warning("an order expired", order=order.order_id, reason=outcome.reason)
                else:
                    self._fills.append(outcome)
            if partition in self._paused and len(progress.waiting) < _MOST_WAITING // 2:
                self._paused.discard(partition)
                self._consumer.resume([TopicPartition(self._orders, partition)])
        metrics.WAITING.labels(self._config.venue).set(sum(len(one.waiting) for one in self._progress.values()))

    def commit(self) -> None:
        """Fills, dead letters and how far the orders are decided, all or nothing. Raises KafkaException."""
        self._committed_at = time.monotonic()
        state = {p: (one.low, one.metadata()) for p, one in self._progress.items()}
        news = [TopicPartition(self._orders, p, *state[p]) for p in state if state[p] != self._stored[p]]
        if not news:
            return
        self._producer.begin_transaction()
        for fill in self._fills:
            self._produce(topics.fills, fill.instrument, fill, fill.fill_id, fill.event_time)
        for at, key, raw, time_, reason in self._letters:
            letter = letter_of(Venue.name, at, key, raw, time_, reason)
            self._produce(topics.dead_letters, Venue.name, letter, letter.letter_id, letter.event_time)
        self._producer.send_offsets_to_transaction(news, self._consumer.consumer_group_metadata(), _TIMEOUT)
        self._producer.commit_transaction(_TIMEOUT)
        self._stored = state
        self._tell()

    def _produce(self, topic: Topic[R], key: str, record: R, event_id: str, event_time: int) -> None:
        self._producer.produce(
            self._cluster.named(topic.name),
            topic.encode(record),
            key=key.encode(),
            headers=cloudevents.headers(topic.kind, f"sinks/{Venue.name}", event_id, event_time),
        )

    def _tell(self) -> None:
        outcomes = metrics.ORDERS
        for fill in self._fills:
            outcomes.labels(self._config.venue, "filled").inc()
            metrics.DELIVERED.labels(Venue.name, topics.orders.name).inc()
            log.info(
                "filled", order=fill.order_id, side=fill.side.value, quantity=str(fill.quantity), price=str(fill.price)
            )
        for outcome, _order in self._ended:
            outcomes.labels(self._config.venue, outcome).inc()
        for at, key, _raw, _time, reason in self._letters:
            outcomes.labels(self._config.venue, "refused").inc()
            metrics.DEAD_LETTERS.labels(Venue.name, topics.orders.name).inc()
            log.warning("put aside as a dead letter", sink=Venue.name, record=str(at), key=key, reason=reason)
        self._fills, self._ended, self._letters = [], [], []

    def close(self) -> None:
        """Let go of Kafka. What was not committed is read again by the next session."""
        close(self._consumer, Venue.name)
