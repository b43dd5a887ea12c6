"""How to reach Kafka, and the client settings that the figures in docs/engine.md were measured with."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from streams.engine.bounded import Bounded
from streams.engine.outside import Clock, Helper, SystemClock

Config = dict[str, Any]
BULK: Config = {
    "fetch_message_max_bytes": 4 << 20,
    "queued_min_messages": 200_000,
    "queued_max_messages_kbytes": 4_096,
}
"""For a reader that is to keep up with a busy topic in little memory; docs/engine.md has the figures."""
_MEETING = 0.25
"""Seconds for an answer to a new producer; two of them take no longer than its own second attempt."""


@dataclass(frozen=True)
class Cluster:
    """One Kafka cluster as a client sees it.

    ``bootstrap``: comma-separated host:port. ``security``: librdkafka settings for TLS and SASL (security.protocol,
    ssl.*, sasl.*), passed on as they are. ``prefix``: put before every topic, group and transactional id with a dash,
    so that tenants can share a cluster. ``clock``: what the engine takes for the time. ``complaints``: librdkafka
    settings for what it logs by itself; what fails for good comes back as an error, too.
    """

    bootstrap: str
    security: Config = field(default_factory=dict)
    prefix: str = ""
    clock: Clock = field(default=SystemClock(), repr=False, compare=False)
    complaints: Config = field(default_factory=lambda: {"log_level": 3}, repr=False, compare=False)

    def named(self, name: str) -> str:
        """A topic, group or transactional id as it is called on this cluster."""
        return f"{self.prefix}-{name}" if self.prefix else name

    def bare(self, name: str) -> str:
        """The inverse of :meth:`named`."""
        return name.removeprefix(f"{self.prefix}-") if self.prefix else name

    @property
    def common(self) -> Config:
        """What every client needs."""
        return {
            "bootstrap.servers": self.bootstrap,
            "topic.metadata.refresh.interval.ms": 30_000,
            # Half of it also passes between two looks for a broker, of which a new client makes several.
            "reconnect.backoff.ms": 50,
            **self.complaints,
            **self.security,
        }

    def helper(self, name: str) -> Helper:
        """A thread for calls that may never return."""
        return Bounded(name)

    def admin(self) -> AdminClient:
        """An admin client."""
        return AdminClient(self.common)

    def reader(self, group: str, **extra: Any) -> Consumer:
        """A read_committed consumer that commits only when told to; for sinks, views and verification."""
        return Consumer(
            {
                **self.common,
                "group.id": self.named(group),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "fetch.queue.backoff.ms": 5,
                **{name.replace("_", "."): value for name, value in extra.items()},
            }
        )

    def publisher(self, topic: str = "", **extra: Any) -> Producer:
        """An idempotent producer: acknowledged by all in-sync replicas, in order, without its own duplicates.

        ``topic``: one that it will write to, for a producer that is used at once; see :func:`_meet`.
        """
        producer = Producer(
            {
                **self.common,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 5,
                "partitioner": "murmur2_random",
                **{name.replace("_", "."): value for name, value in extra.items()},
            }
        )
        if topic:
            _meet(producer, self.named(topic))
        return producer


def _meet(producer: Producer, topic: str) -> None:
    """Have a new producer connect to a broker before it asks for its id.

    Its first connection is to an address, and given up once the broker that answers there has told its name; a request
    for the id that comes between the two is made again after half a second (librdkafka 2.16), as the first record of
    a producer used at once, and one start in four of a transactional one. The second question needs the new connection.
    """
    with suppress(KafkaException):  # the cluster is away: whoever uses the producer will be told
        for _ in range(2):
            producer.list_topics(topic, _MEETING)
