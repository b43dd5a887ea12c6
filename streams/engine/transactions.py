"""One transactional producer: what a commit writes, and what an error means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicPartition

from streams.engine.errors import Abortable, Corrupted, EngineError, Migrated, classify
from streams.engine.outside import Consumer, Outside, Producer
from streams.engine.partitions import partition_of
from streams.engine.ports import Headers, Output

log = structlog.get_logger(__name__)
Change = tuple[str, int, bytes, bytes | None, Headers, Callable[[int], None] | None]
"""A changelog record: topic, partition, key, value, headers, and who is told the offset that it was given."""


class Transactions:
    """A producer with a stable transactional id. Initialising it fences and aborts what a predecessor left open."""

    def __init__(
        self, cluster: Outside, transactional_id: str, partitions: int, timeout_ms: int, *, changelog: str
    ) -> None:
        self._named = cluster.named
        self._clock = cluster.clock
        self._partitions = partitions
        self._timeout = timeout_ms / 1000
        self._open = False
        self._member = ""
        self._helper = cluster.helper(f"{transactional_id}-offsets")
        doing = f"initialising transactional id {cluster.named(transactional_id)}"
        try:
            self._producer: Producer = self._connect(cluster, transactional_id, timeout_ms, changelog)
            self._producer.init_transactions(2 * self._timeout)
        except KafkaException as error:
            self._helper.close()
            raise classify(error, doing) from error

    @staticmethod
    def _connect(cluster: Outside, transactional_id: str, timeout_ms: int, changelog: str) -> Producer:
        return cluster.publisher(
            changelog,
            transactional_id=cluster.named(transactional_id),
            transaction_timeout_ms=timeout_ms,
            message_timeout_ms=timeout_ms * 5 // 6,
            linger_ms=0,
            batch_size=262_144,
            queue_buffering_max_messages=1_000_000,
            # The broker answers CONCURRENT_TRANSACTIONS while it finishes the previous commit; with librdkafka's
            # default backoff of 100 ms that alone makes a p99 of 200 ms.
            retry_backoff_ms=1,
            retry_backoff_max_ms=4,
        )

    def commit(
        self,
        outputs: Iterable[Output],
        changes: Iterable[Change],
        offsets: list[TopicPartition],
        consumer: Consumer,
    ) -> None:
        """Write outputs, changelog and offsets in one transaction.

        Raises Migrated, Abortable (abort is then due), Corrupted or Fatal; otherwise all of it is committed.
        """
        member = consumer.consumer_group_metadata()
        # Asked after the metadata were taken.
        self.check_member(consumer.memberid())
        produce, named, count = self._produce, self._named, self._partitions
        try:
            self._producer.begin_transaction()
            self._open = True
            # First, since the broker refuses what begins a transaction while it finishes the one before: librdkafka
            # waits 1 ms before it sends offsets again, but 20 ms with partitions.
            self._send(offsets, member)
            for o in outputs:
                place = o.route if isinstance(o.route, int) else partition_of(o.route, count)
                produce(named(o.topic), o.value, o.key, place, headers=o.headers)
            for topic, partition, key, value, headers, report in changes:
                if report is None:
                    produce(topic, value, key, partition, headers=headers)
                else:
                    produce(topic, value, key, partition, headers=headers, on_delivery=_told(report))
            self._producer.commit_transaction(self._timeout)
        except KafkaException as error:
            raise classify(error, "committing") from error
        self._open = False

    def check_member(self, member: str) -> None:
        """Raises Migrated unless this is the member that was given the first tasks. Due whenever some are given, too.

        With an empty id the broker would take the offsets without looking at the generation. A new id: the group had
        expelled this consumer, and the client has joined it again believing in what it had; the broker would take that
        for the new member's own.
        """
        if not member:
            raise Migrated("not a member of the group now")
        self._member = self._member or member
        if member != self._member:
            raise Migrated("expelled from the group and taken in again as another member")

    def _send(self, offsets: list[TopicPartition], member: Any) -> None:
        send, timeout = self._producer.send_offsets_to_transaction, self._timeout
        try:
            self._helper.run(lambda: send(offsets, member, timeout), timeout + 1)
        except TimeoutError:
            raise Corrupted(
                f"sending offsets to the group's coordinator did not end within {timeout + 1:g} s"
            ) from None

    def abort(self) -> None:
        """Abort the open transaction. Raises Corrupted when even that did not come back."""
        try:
            self._producer.abort_transaction(self._timeout)
        except KafkaException as error:
            verdict: EngineError = classify(error, "aborting")
            raise Corrupted(str(verdict)) if isinstance(verdict, Abortable) else verdict from error
        self._open = False

    def close(self, *, successor: bool) -> None:
        """Let go of the producer, with what it still holds.

        With ``successor`` false, nobody with this transactional id comes next to abort what was left open, and readers
        would wait for its timeout: so it is aborted here, if the broker still takes that.
        """
        if self._open and not successor:
            try:
                self._producer.abort_transaction(2.0)
            except KafkaException as error:
                log.warning("transaction left to its timeout", why=str(error))
        self._helper.close()
        self._producer.purge()
        # Producer.close() would wait without end for a broker that is away: dropping the last reference does not.
        del self._producer

    def _produce(self, topic: str, value: bytes | None, key: bytes, partition: int, **more: Any) -> None:
        try:
            self._producer.produce(topic, value, key, partition, **more)
        except BufferError:
            # The queue is full: let the sender thread empty half of it, then go on.
            half, deadline = len(self._producer) // 2, self._clock.monotonic() + self._timeout
            while len(self._producer) > half:
                if self._clock.monotonic() > deadline:
                    raise Corrupted(f"the producer's queue stayed full for {self._timeout:g} s") from None
                self._producer.poll(0.05)
            self._producer.produce(topic, value, key, partition, **more)
        except KafkaException as error:
            raise classify(error, f"writing key {key!r:.200} to {topic}[{partition}]") from error


def _told(report: Callable[[int], None]) -> Callable[[Any, Any], None]:
    """A delivery callback that tells ``report`` the offset; a record that failed fails the transaction."""
    return lambda error, message: report(message.offset()) if error is None else None
