"""Do the clocks of this machine and of the brokers agree?

Kafka has no request that tells the time. A topic whose records are stamped on arrival does: the broker's stamp comes
back with the acknowledgement. So a topic of our own is made for the moment, one partition on each broker, and taken
away again; no topic of the user's is written to.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, DescribeClusterResult, NewTopic

from streams.commands.checks.finding import Finding, fail, ok, tool, warn
from streams.engine.cluster import Cluster

TOLERABLE = 1.0
"""Seconds: beyond it the times in records of different machines tell a wrong order."""
INTOLERABLE = 60.0
"""Seconds: beyond it ticks are refused as from the future, and retention deletes at the wrong time."""
_TRIES = 5


def examine(cluster: Cluster, admin: AdminClient, found: DescribeClusterResult, timeout: float) -> list[Finding]:
    """The difference to each broker, with how exactly it could be measured."""
    brokers = [node.id for node in found.nodes]
    try:
        with _topic(cluster, admin, brokers, timeout) as topic:
            settings = {"linger.ms": 0, "message.timeout.ms": int(timeout * 1000)}
            producer = Producer({**cluster.common, **settings})
            return [verdict(broker, *_difference(producer, topic, i, timeout)) for i, broker in enumerate(brokers)]
    except (KafkaException, TimeoutError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        grant = "--add --allow-principal User:NAME --operation Create --operation Write --operation Delete --topic "
        name = f"{cluster.named('doctor-clock-')} --resource-pattern-type prefixed"
        return [
            warn(
                f"the brokers' clocks could not be compared with this one: {why}",
                "It takes a topic of the doctor's own for a moment: " + tool("kafka-acls", cluster, grant + name),
            )
        ]


def verdict(broker: int, difference: float, uncertainty: float) -> Finding:
    """``difference``: broker minus this machine, and how far that may be off; both in seconds."""
    text = (
        f"the clock of broker {broker} is {abs(difference):.3f} s {'ahead of' if difference > 0 else 'behind'} this one"
    )
    text += f" (± {uncertainty:.3f} s)"
    how = "Let both machines keep time by NTP (`timedatectl set-ntp true`, or chrony) and look which one is wrong."
    certain = abs(difference) - uncertainty
    if certain > INTOLERABLE:
        return fail(text, how)
    return warn(text, how) if certain > TOLERABLE else ok(text)


@contextmanager
def _topic(cluster: Cluster, admin: AdminClient, brokers: list[int], timeout: float) -> Iterator[str]:
    name = cluster.named(f"doctor-clock-{uuid.uuid4().hex[:12]}")
    new = NewTopic(
        name,
        num_partitions=len(brokers),
        replica_assignment=[[broker] for broker in brokers],
        config={"message.timestamp.type": "LogAppendTime", "retention.ms": "3600000", "min.insync.replicas": "1"},
    )
    admin.create_topics([new], operation_timeout=timeout)[name].result(timeout=timeout)
    try:
        yield name
    finally:
        admin.delete_topics([name], operation_timeout=timeout)[name].result(timeout=timeout)


def _difference(producer: Producer, topic: str, partition: int, timeout: float) -> tuple[float, float]:
    """The quickest of some exchanges: the stamp lies between sending and hearing, so half of that is the doubt."""
    measured = [_exchange(producer, topic, partition, timeout) for _ in range(_TRIES)]
    return min(measured, key=lambda one: one[1])


def _exchange(producer: Producer, topic: str, partition: int, timeout: float) -> tuple[float, float]:
    heard: list[tuple[float, Message]] = []
    errors: list[KafkaException] = []

    def delivered(error: object, message: Message) -> None:
        if error is not None:
            errors.append(KafkaException(error))
        heard.append((time.time(), message))

    sent = time.time()
    producer.produce(topic, b"what time is it?", partition=partition, on_delivery=delivered)
    deadline = time.monotonic() + timeout
    while not heard and time.monotonic() < deadline:
        producer.poll(0.1)
    if errors:
        raise errors[0]
    if not heard:
        raise TimeoutError(f"no acknowledgement within {timeout:g} s")
    back, message = heard[0]
    kind, stamp = message.timestamp()
    if kind != TIMESTAMP_LOG_APPEND_TIME:
        raise TimeoutError("the broker did not stamp the record")
    return stamp / 1000 - (sent + back) / 2, (back - sent) / 2 + 0.001
