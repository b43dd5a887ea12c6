"""What broadcast inputs hold that the group has not read yet.

Faust reads all topics at once, but no decision may miss a limit: so a starting task is given these first.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, TopicPartition

from streams.engine.cluster import Cluster
from streams.engine.errors import Corrupted, classify
from streams.engine.memory import MemoryMessage
from streams.engine.ports import TopicPort

_PATIENCE = 30.0
"""Seconds for an answer of Kafka."""


def waiting(
    cluster: Cluster, group: str, topics: Sequence[TopicPort], partition: int
) -> dict[TopicPort, list[MemoryMessage]]:
    """Committed records of ``topics`` in a partition from the offsets of ``group`` to the present end.

    Blocks; raises EngineError when Kafka does not answer.
    """
    found: dict[TopicPort, list[MemoryMessage]] = {}
    if not topics:
        return found
    reader = cluster.reader(cluster.bare(group), enable_partition_eof=True, fetch_wait_max_ms=10)
    try:
        asked = [TopicPartition(cluster.named(topic.name), partition) for topic in topics]
        for topic, place in zip(topics, reader.committed(asked, _PATIENCE), strict=True):
            if place.error is not None:
                raise classify(place.error, f"asking for the offset of {place.topic}[{partition}]")
            reader.list_topics(place.topic, timeout=_PATIENCE)  # else librdkafka takes a second to find the leader
            reader.assign([TopicPartition(place.topic, partition, max(place.offset, 0))])
            found[topic] = []
            while (message := reader.poll(_PATIENCE)) is not None:
                error = message.error()
                if error is None:
                    time = message.timestamp()[1] * 1000
                    key, value = message.key(), message.value()
                    found[topic].append(MemoryMessage(key, value, message.offset() or 0, time))
                elif error.code() == KafkaError._PARTITION_EOF:
                    break
                else:
                    raise classify(error, f"reading {place.topic}[{partition}]")
            else:
                raise Corrupted(f"Kafka gave no answer for {_PATIENCE:g} s while reading {place.topic}[{partition}]")
    finally:
        reader.close()
    return found
