"""Topics of tests: one as the engine wants it, in plain JSON, and what time does to one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.engine.cluster import Cluster


@dataclass(frozen=True, eq=False)
class Topic:
    """A topic in the engine's shape."""

    name: str
    record: type[Any]
    broadcast: bool = False
    urgent: bool = False
    decode: Callable[[bytes], Any] = field(init=False, repr=False)
    encode: Callable[[Any], bytes] = field(init=False, repr=False, default=msgspec.json.encode)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decode", msgspec.json.Decoder(self.record).decode)


def expire(admin: AdminClient, name: str, partition: int, before: int) -> None:
    """Delete the records of a partition that come before that offset (-1: all), as retention does.

    A broker that was told a moment ago that the topic's records may be deleted may not know it yet.
    """
    admin.list_topics(timeout=30)  # a client must know the leaders first: see streams.engine.restore
    place = TopicPartition(name, partition, before)
    deadline = time.monotonic() + 30
    while True:
        try:
            admin.delete_records([place])[place].result(timeout=30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.POLICY_VIOLATION or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def remove_tenant(cluster: Cluster) -> None:
    """Delete all topics of a cluster with a prefix. One that is gone already is no fault: a busy broker's answer may be
    lost on its way, and the client asks again."""
    admin = cluster.admin()
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(f"{cluster.prefix}-")]
    for deleted in admin.delete_topics(names).values():
        error = deleted.exception(timeout=30)
        if isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            continue
        if error is not None:
            raise error
