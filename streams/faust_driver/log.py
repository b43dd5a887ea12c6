"""What a partition holds, asked of Kafka itself.

Faust reads all topics at once, but no decision may miss a limit: so a starting task is given these first. And no record
may be acknowledged past: what Faust has not handed on is read here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.engine.cluster import Cluster
from streams.engine.errors import Corrupted, Fatal, Migrated, classify
from streams.engine.memory import MemoryMessage

_PATIENCE = 30.0
"""Seconds for an answer of Kafka."""
_SLICE = 0.5
"""Seconds between two looks whether it is to be closed."""


class Log:
    """Reads the partitions of the topics of one group. Its methods block; one runs at a time.

    They raise EngineError when Kafka does not answer, or when :meth:`close` was called.
    """

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()  # a thread may still read when its task was cancelled and all is closed
        self._closed = False
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
        with self._asking(f"asking for the offsets of {', '.join(topics)}"):
            for topic, place in zip(topics, self._committed.committed(asked, _PATIENCE), strict=True):
                if place.error is not None:
                    raise classify(place.error, f"asking for the offset of {place.topic}[{partition}]")
                if place.offset >= 0:
                    self._check_kept(place)
                found[topic] = max(place.offset, 0)
        return found

    def _check_kept(self, place: TopicPartition) -> None:
        low, high = self._committed.get_watermark_offsets(place, _PATIENCE)
        if not low <= place.offset <= high:
            raise Fatal(
                f"{place.topic}[{place.partition}]: the committed offset {place.offset} is no longer in the topic, "
                f"which has {low} to {high}: records expired, or it was made anew. Nothing is skipped silently: "
                "reset the offsets of the group knowingly, with Kafka's own tools"
            )

    def waiting(self, topic: str, partition: int, first: int) -> list[MemoryMessage]:
        """The committed records from ``first`` to the present end."""
        return self._read(self._committed, topic, partition, first, None)

    def between(self, topic: str, partition: int, first: int, end: int) -> list[MemoryMessage]:
        """The records with the offsets ``first`` to ``end`` - 1, those of open transactions too."""
        return self._read(self._all, topic, partition, first, end)

    def close(self) -> None:
        """Leave Kafka."""
        self._closed = True
        with self._lock:
            self._committed.close()
            self._all.close()

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        with self._lock:
            self._check_open()
            try:
                yield
            except KafkaException as error:
                raise classify(error, doing) from error

    def _check_open(self) -> None:
        if self._closed:
            raise Migrated("the application stops")

    def _read(self, reader: Consumer, topic: str, partition: int, first: int, end: int | None) -> list[MemoryMessage]:
        name = self._cluster.named(topic)
        found: list[MemoryMessage] = []
        with self._asking(f"reading {name}[{partition}]"):
            reader.list_topics(name, timeout=_PATIENCE)  # else librdkafka takes a second to find the leader
            reader.assign([TopicPartition(name, partition, first)])
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                self._check_open()
                if (message := reader.poll(_SLICE)) is None:
                    continue
                deadline = time.monotonic() + _PATIENCE
                error, offset = message.error(), message.offset() or 0
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise classify(error, f"reading {name}[{partition}]")
                if error is None and (end is None or offset < end):
                    found.append(MemoryMessage(message.key(), message.value(), offset, message.timestamp()[1] * 1000))
                if error is not None or (end is not None and offset >= end - 1):
                    reader.unassign()
                    return found
        raise Corrupted(f"Kafka gave no answer for {_PATIENCE:g} s while reading {name}[{partition}]")
