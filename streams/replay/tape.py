"""One partition of Kafka, read forwards: runs of records as the journal names them, with bounded memory."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.engine.cluster import Cluster
from streams.engine.errors import EngineError, classify
from streams.engine.restore import bounds
from streams.replay.errors import Gone

_FAR = 50_000
"""Records that are rather read over than jumped across."""
_BATCH = 10_000
_offset: Callable[[Any], int] = Message.offset  # type: ignore[assignment]  # a consumed message always has one


class Readers:
    """Connected consumers that tapes borrow one after the other: to connect takes longer than most reading."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._free: list[Consumer] = []

    def borrow(self) -> Consumer:
        """One that nobody uses."""
        if self._free:
            return self._free.pop()
        return self.cluster.reader(
            "replay",  # never joined, never committed: librdkafka wants a name
            enable_partition_eof=True,
            auto_offset_reset="error",
            fetch_message_max_bytes=4 << 20,
            queued_min_messages=20_000,
            queued_max_messages_kbytes=8_192,
            fetch_wait_max_ms=10,
        )

    def give_back(self, consumer: Consumer) -> None:
        """Drop what it holds; somebody else may use it."""
        consumer.unassign()
        self._free.append(consumer)

    def close(self) -> None:
        """Close those that were given back."""
        while self._free:
            self._free.pop().close()


class Tape:
    """Committed records of one partition. Use as a context manager; ``timeout`` in seconds for one answer of Kafka."""

    def __init__(self, readers: Readers, topic: str, partition: int, *, timeout: float = 30.0) -> None:
        """``topic``: as it is named on the cluster."""
        self.place = f"{topic}[{partition}]"
        self._readers = readers
        self._topic, self._partition, self._timeout = topic, partition, timeout
        self._consumer: Consumer | None = None
        self._buffer: list[Message] = []
        self._next = -1
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the reader back."""
        if self._consumer is not None:
            self._readers.give_back(self._consumer)
            self._consumer = None

    def ends(self) -> tuple[int, int]:
        """First offset and read_uncommitted high watermark. Raises EngineError."""
        place = self._topic, self._partition
        return bounds(self._readers.cluster, [place], self._timeout)[place]

    def at_time(self, micros: int) -> int:
        """Offset of the first record that Kafka has at or after a time; the end when there is none."""
        asked = TopicPartition(self._topic, self._partition, max(0, micros // 1000))
        answer = self._open().offsets_for_times([asked], self._timeout)[0]
        if answer.error is not None:
            raise classify(answer.error, f"looking for a time in {self.place}")
        return answer.offset if answer.offset >= 0 else self.ends()[1]

    def run(self, first: int, last: int, count: int) -> list[Message]:
        """The ``count`` records from offset ``first`` to ``last``. Raises Gone when they are no longer all there."""
        if first < self._next or first > self._next + _FAR or self._next < 0:
            self._seek(first)
        found: list[Message] = []
        while self._buffer or self._fetch():
            begin = bisect_left(self._buffer, first, key=_offset)
            end = bisect_right(self._buffer, last, lo=begin, key=_offset)
            found += self._buffer[begin:end]
            passed = end < len(self._buffer)
            self._buffer = self._buffer[end:] if passed else []
            if passed or (found and _offset(found[-1]) == last):
                break
        self._next = last + 1
        if len(found) != count:
            raise Gone(self._why(first, last, count, len(found)))
        return found

    def forward(self, first: int, end: int) -> Iterator[Message]:
        """Every record from offset ``first`` to below ``end``. Raises Gone when the partition begins later."""
        self._seek(first)
        while self._buffer or self._fetch():
            messages, self._buffer = self._buffer, []
            for message in messages:
                self._next = _offset(message) + 1
                if self._next > end:
                    return
                yield message
            if self._next >= end:
                return

    def _seek(self, offset: int) -> None:
        self._open().assign([TopicPartition(self._topic, self._partition, offset)])
        self._buffer, self._next, self._ended = [], offset, False

    def _fetch(self) -> bool:
        """Fill the buffer; False at the end of the partition. One record is waited for, then what is there is taken."""
        heard = time.monotonic()
        while not self._ended:
            messages = self._open().consume(1, 0.2)
            if messages:
                messages += self._open().consume(_BATCH, 0)
            for message in [m for m in messages if m.error() is not None]:
                self._note(message.error())
            self._buffer = [message for message in messages if message.error() is None]
            if self._buffer:
                return True
            if time.monotonic() - heard > self._timeout:
                raise Gone(f"Kafka gave no answer for {self._timeout:g} s while reading {self.place}")
        return False

    def _note(self, error: KafkaError | None) -> None:
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:
            self._ended = True
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            low, high = self.ends()
            raise Gone(f"{self.place} was read from offset {self._next}, but now holds {low} to {high}: expired")
        else:
            verdict: EngineError = classify(error, f"reading {self.place}")
            raise verdict

    def _why(self, first: int, last: int, count: int, found: int) -> str:
        return (
            f"{count} records were fed from {self.place} offsets {first} to {last}, of which {found} are left: "
            "overwritten and compacted away since, or the topic was made anew"
        )

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._readers.borrow()
            # Asked before the first read: otherwise librdkafka looks for the leader only once a second.
            self._consumer.list_topics(self._topic, timeout=self._timeout)
        return self._consumer
