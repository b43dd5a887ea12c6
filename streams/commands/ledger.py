"""Reading back: single records by their coordinates, and whole topics from their ends backwards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import topics
from schemas.base import Coordinates, Record
from schemas.topics import Topic
from streams.commands.errors import CommandError
from streams.commands.quiet import quiet
from streams.engine.cluster import Cluster
from streams.engine.errors import classify
from streams.engine.restore import bounds

Place = tuple[str, int]
"""Topic as named on the cluster, and partition."""
FIRST_WINDOW = 1_000
"""Records per partition that are searched first; each further window is four times as long."""
LONGEST_WINDOW = 64_000


class Missing(Exception):
    """The record cannot be shown; the text says why."""


@dataclass(frozen=True)
class Entry:
    """A record as it stands in Kafka. ``time``: Kafka's timestamp, microseconds."""

    at: Coordinates
    topic: Topic[Any]
    key: str
    record: Record
    time: int


class Ledger:
    """Committed records of one cluster. Use as a context manager; ``timeout`` in seconds for one answer of Kafka."""

    def __init__(self, cluster: Cluster, timeout: float = 10.0) -> None:
        self._cluster = cluster = quiet(cluster)
        self._timeout = timeout
        self._counts: dict[str, int] = {}
        self._consumer: Consumer = cluster.reader(
            "ledger",  # never joined, never committed: librdkafka wants a name
            enable_partition_eof=True,
            auto_offset_reset="error",
            queued_min_messages=1,
            fetch_wait_max_ms=10,  # a new place to read waits for the answer about the old one
            fetch_message_max_bytes=262_144,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def open(self, at: Coordinates) -> Entry:
        """The record that stands at ``at``. Raises Missing saying why there is none, EngineError without Kafka."""
        topic = topics.BY_NAME.get(self._cluster.bare(at.topic))
        if topic is None:
            raise Missing(f"{at.topic} is no topic of this gridtape (is the topic prefix the same as then?)")
        if at.partition >= self._partitions(at.topic):
            raise Missing(f"not there: {at.topic} has no partition {at.partition} on {self._cluster.bootstrap}")
        message = self.following(at)
        if message is None or (found := message.offset() or 0) != at.offset:
            follows = "nothing follows" if message is None else f"the next record is at offset {found}"
            why = "compacted away, since its key was overwritten" if topic.compacted else "never committed"
            raise Missing(f"{why}: {follows}")
        return self._entry(topic, message)

    def following(self, at: Coordinates) -> Message | None:
        """The committed record at ``at``, or the next one after it; None at the end of the partition.

        Raises Missing when the partition does not reach so far back, or ends before; EngineError without Kafka.
        """
        self._consumer.assign([TopicPartition(at.topic, at.partition, at.offset)])
        heard = time.monotonic()
        while True:
            message = self._consumer.poll(0.2)
            if message is None:
                self._check(heard, f"while opening {at}")
            elif (error := message.error()) is None:
                return message
            elif error.code() == KafkaError._PARTITION_EOF:
                return None
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                place = at.topic, at.partition
                low, high = bounds(self._cluster, [place], self._timeout, committed=True)[place]
                raise Missing(
                    f"expired: {at.topic}[{at.partition}] now begins at offset {low}"
                    if at.offset < low
                    else f"not there: {at.topic}[{at.partition}] ends at offset {high}; was the topic made anew?"
                )
            else:
                raise classify(error, f"opening {at}")

    def newest_first(self, wanted: Sequence[Topic[Any]], needle: bytes = b"") -> Iterator[list[Entry]]:
        """Windows of records of ``wanted``, from the ends of all partitions backwards, each window in any order.

        Records without the bytes ``needle`` are not decoded and not given; those that cannot be decoded are passed
        over. Raises EngineError when Kafka does not answer, CommandError when a topic is missing.
        """
        names = [self._cluster.named(topic.name) for topic in wanted]
        if absent := [name for name in names if not self._partitions(name)]:
            raise CommandError(
                f"{self._cluster.bootstrap} has no topic {', '.join(absent)}. Is the prefix (GRIDTAPE_TOPIC_PREFIX) "
                "right, and has gridtape run on this Kafka? `gridtape doctor` shows more."
            )
        places = [(name, partition) for name in names for partition in range(self._partitions(name))]
        ends = bounds(self._cluster, places, self._timeout, committed=True)
        lowest = {place: low for place, (low, _) in ends.items()}
        upper = {place: high for place, (_, high) in ends.items()}
        window = FIRST_WINDOW
        while any(upper[place] > low for place, low in lowest.items()):
            lower = {place: max(low, upper[place] - window) for place, low in lowest.items()}
            found: list[Entry] = []
            for message in self._between(lower, upper):
                value = message.value()
                if value is None or needle not in value:
                    continue
                try:
                    found.append(self._entry(topics.BY_NAME[self._cluster.bare(message.topic() or "")], message))
                except Missing:
                    continue
            yield found
            upper, window = lower, min(window * 4, LONGEST_WINDOW)

    def _between(self, lower: dict[Place, int], upper: dict[Place, int]) -> Iterator[Message]:
        """Committed records from ``lower`` up to below ``upper``."""
        open_places = {place for place in lower if lower[place] < upper[place]}
        self._consumer.assign([TopicPartition(*place, lower[place]) for place in sorted(open_places)])
        heard = time.monotonic()
        while open_places:
            for message in self._consumer.consume(1_000, 0.05):
                heard = time.monotonic()
                place = (message.topic() or "", message.partition() or 0)
                if (error := message.error()) is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise classify(error, f"reading {place[0]}[{place[1]}]")
                offset = message.offset() or 0
                if error is None and offset < upper[place]:
                    yield message
                if error is not None or offset >= upper[place] - 1:
                    open_places.discard(place)
            self._check(heard, f"while reading {', '.join(sorted({name for name, _ in open_places}))}")
        self._consumer.unassign()

    def _check(self, heard: float, doing: str) -> None:
        if time.monotonic() - heard > self._timeout:
            raise self._silence(doing)

    def _silence(self, doing: str) -> CommandError:
        return CommandError(
            f"Kafka at {self._cluster.bootstrap} gave no answer for {self._timeout:g} s {doing}. "
            "`gridtape doctor` looks at what is wrong."
        )

    def _entry(self, topic: Topic[Any], message: Message) -> Entry:
        at = Coordinates(topic=message.topic() or "", partition=message.partition() or 0, offset=message.offset() or 0)
        value, key = message.value(), message.key()
        if value is None:
            raise Missing("deleted: its key was taken away")
        try:
            record = topic.decode(value)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise Missing(f"there, but not readable as {topic.record.__name__}: {error}") from error
        text = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key or ""
        return Entry(at, topic, text, record, message.timestamp()[1] * 1000)

    def _partitions(self, name: str) -> int:
        """Partitions of a topic, none when there is no such topic.

        Asked before a topic is first read: otherwise librdkafka looks for its leaders only once a second.
        """
        if name not in self._counts:
            try:
                metadata = self._consumer.list_topics(name, timeout=self._timeout).topics[name]
            except KafkaException as error:
                raise classify(error, f"asking for topic {name}") from error
            if metadata.error is not None and metadata.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise CommandError(
                    f"this principal may not see the topic {name}; `gridtape doctor` gives the command that grants it"
                )
            self._counts[name] = len(metadata.partitions)
        return self._counts[name]
