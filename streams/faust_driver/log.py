"""What a partition holds, asked of Kafka itself.

Faust reads all topics at once, but no decision may miss a limit: so a starting task is given these first. And no record
may be acknowledged past: what Faust has not handed on is read here.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition

from streams.engine.cluster import Cluster
from streams.engine.errors import Corrupted, Fatal, classify
from streams.engine.memory import MemoryMessage

_PATIENCE = 30.0
"""Seconds for an answer of Kafka."""


class Log:
    """Reads the partitions of the topics of one group. Its methods block, and are called by one thread at a time.

    They raise EngineError when Kafka does not answer.
    """

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._cluster = cluster
        self._committed = cluster.reader(group, enable_partition_eof=True, fetch_wait_max_ms=10)
        # As Faust reads: else an open transaction would hide what Faust has already seen.
        self._all = cluster.reader(
            group, enable_partition_eof=True, fetch_wait_max_ms=10, isolation_level="read_uncommitted"
        )

    def offsets(self, topics: Sequence[str], partition: int) -> dict[str, int]:
        """By topic, where the group goes on in ``partition``: 0 where it has never been.

        Raises Fatal when the topic no longer has that offset: Faust would drop what is there without a word.
        """
        asked = [TopicPartition(self._cluster.named(topic), partition) for topic in topics]
        found = {}
        for topic, place in zip(topics, self._committed.committed(asked, _PATIENCE), strict=True):
            if place.error is not None:
                raise classify(place.error, f"asking for the offset of {place.topic}[{partition}]")
            if place.offset >= 0:
                low, high = self._committed.get_watermark_offsets(place, _PATIENCE)
                if not low <= place.offset <= high:
                    raise Fatal(
                        f"{place.topic}[{partition}]: the committed offset {place.offset} is no longer in the topic, "
                        f"which has {low} to {high}: records expired, or it was made anew. Nothing is skipped "
                        "silently: reset the offsets of the group knowingly, with Kafka's own tools"
                    )
            found[topic] = max(place.offset, 0)
        return found

    def waiting(self, topic: str, partition: int, first: int) -> list[MemoryMessage]:
        """The committed records from ``first`` to the present end."""
        return self._read(self._committed, topic, partition, first, None)

    def between(self, topic: str, partition: int, first: int, end: int) -> list[MemoryMessage]:
        """The records with the offsets ``first`` to ``end`` - 1, those of open transactions too."""
        return self._read(self._all, topic, partition, first, end)

    def close(self) -> None:
        """Leave Kafka."""
        self._committed.close()
        self._all.close()

    def _read(self, reader: Consumer, topic: str, partition: int, first: int, end: int | None) -> list[MemoryMessage]:
        name = self._cluster.named(topic)
        reader.list_topics(name, timeout=_PATIENCE)  # else librdkafka takes a second to find the leader
        reader.assign([TopicPartition(name, partition, first)])
        found: list[MemoryMessage] = []
        while (message := reader.poll(_PATIENCE)) is not None:
            error, offset = message.error(), message.offset() or 0
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise classify(error, f"reading {name}[{partition}]")
            if error is None and (end is None or offset < end):
                found.append(MemoryMessage(message.key(), message.value(), offset, message.timestamp()[1] * 1000))
            if error is not None or (end is not None and offset >= end - 1):
                reader.unassign()
                return found
        raise Corrupted(f"Kafka gave no answer for {_PATIENCE:g} s while reading {name}[{partition}]")
