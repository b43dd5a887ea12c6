"""What the engine needs of the world outside its own thread: Kafka's clients, a clock, a helper, a word to stop.

``streams.engine.cluster.Cluster`` gives the real ones; the simulator (tests/simulator) gives its own and runs the same
engine in virtual time. Data that goes to and fro (Message, TopicPartition, KafkaError) is confluent-kafka's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import Message, TopicPartition


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def time_ns(self) -> int:
        """Nanoseconds since the epoch, by the wall."""

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""


class SystemClock:
    """This machine's clock."""

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)
    sleep = staticmethod(time.sleep)


class Stop(Protocol):
    """Tells a worker to end; ``threading.Event`` has this shape."""

    def is_set(self) -> bool:
        """Whether it is time."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it up to ``timeout`` seconds; whether it is time."""


class Helper(Protocol):
    """Makes calls that may never return; ``streams.engine.bounded.Bounded`` has this shape."""

    def run(self, call: Callable[[], Any], timeout: float) -> Any:
        """The result of ``call``, or TimeoutError after ``timeout`` seconds."""

    def close(self) -> None:
        """No more calls will come."""


class Consumer(Protocol):
    """What the engine uses of ``confluent_kafka.Consumer``; raises KafkaException as that does."""

    def subscribe(
        self,
        topics: list[str],
        on_assign: Callable[[Any, list[TopicPartition]], None] = ...,
        on_revoke: Callable[[Any, list[TopicPartition]], None] = ...,
        on_lost: Callable[[Any, list[TopicPartition]], None] = ...,
    ) -> None:
        """Join the group. The callbacks are called from within ``consume`` and ``close``."""

    def unsubscribe(self) -> None:
        """Leave the group: what is held is revoked in the next ``consume``, then the coordinator is told."""

    def consume(self, num_messages: int = ..., timeout: float = ...) -> list[Message]:
        """Up to ``num_messages``, waiting up to ``timeout`` seconds for as many."""

    def assignment(self) -> list[TopicPartition]:
        """What is read now."""

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Read these too, from their offsets on."""

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """Read these no more."""

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Read these no more for the time being."""

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Read these again."""

    def seek(self, partition: TopicPartition) -> None:
        """Go on at another offset."""

    def committed(self, partitions: list[TopicPartition], timeout: float = ...) -> list[TopicPartition]:
        """The group's committed offsets, with metadata; waits for transactions that are open on them."""

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = ..., cached: bool = ...
    ) -> tuple[int, int]:
        """First offset and high watermark."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> Any:
        """What the cluster says of a topic."""

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = ...) -> list[TopicPartition]:
        """The first offsets from these times on (milliseconds, in place of offsets)."""

    def consumer_group_metadata(self) -> Any:
        """Member id and generation, for a transaction's offsets."""

    def memberid(self) -> str:
        """The member id; empty when the group does not know this consumer."""

    def close(self) -> None:
        """Let go of everything."""


class Producer(Protocol):
    """What the engine uses of a transactional ``confluent_kafka.Producer``; raises KafkaException as that does."""

    def init_transactions(self, timeout: float = ...) -> None:
        """Take the transactional id: fences its holder and aborts what that left open."""

    def begin_transaction(self) -> None:
        """Begin one."""

    def produce(
        self,
        topic: str,
        value: str | bytes | None = ...,
        key: str | bytes | None = ...,
        partition: int = ...,
        *,
        headers: Any = ...,
        on_delivery: Callable[[Any, Any], None] = ...,
    ) -> None:
        """Queue a record. Raises BufferError when the queue is full.

        ``on_delivery`` (error, message) is called from within ``poll`` and ``commit_transaction``.
        """

    def poll(self, timeout: float = ...) -> int:
        """Serve deliveries for so long."""

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: Any, timeout: float = ...
    ) -> None:
        """Put the consumer's offsets into the transaction."""

    def commit_transaction(self, timeout: float = ...) -> None:
        """Send what is queued and commit."""

    def abort_transaction(self, timeout: float = ...) -> None:
        """Drop what is queued and abort."""

    def purge(self) -> None:
        """Drop what is queued."""

    def __len__(self) -> int:
        """Records not yet delivered."""


class Admin(Protocol):
    """What a running worker uses of ``confluent_kafka.admin.AdminClient``."""

    def list_topics(self, *, timeout: float) -> Any:
        """Every topic and who leads its partitions. Raises KafkaException."""

    def list_offsets(self, topic_partition_offsets: Any, *, request_timeout: float, **isolation: Any) -> Any:
        """A future of the offset asked for, by partition."""

    def describe_consumer_groups(self, group_ids: list[str], *, request_timeout: float) -> Any:
        """A future of each group's members and what they own, by group."""

    def describe_topics(self, topics: Any, *, request_timeout: float) -> Any:
        """A future of each topic's description, by name: its id, its partitions."""


class Outside(Protocol):
    """A worker's way to all of these; ``streams.engine.cluster.Cluster`` has this shape."""

    @property
    def clock(self) -> Clock:
        """Time."""

    def named(self, name: str) -> str:
        """A topic, group or transactional id as it is called on this cluster."""

    def reader(self, group: str, **extra: Any) -> Consumer:
        """A read_committed consumer."""

    def publisher(self, topic: str = ..., **extra: Any) -> Producer:
        """An idempotent producer, ready at once to write to ``topic``."""

    def admin(self) -> Admin:
        """An admin client."""

    def helper(self, name: str) -> Helper:
        """A helper of that name."""
