"""Following the topics live, as any downstream system would: committed records only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import cloudevents, topics
from schemas.topics import Topic
from streams.commands.errors import CommandError
from streams.commands.quiet import quiet
from streams.engine.cluster import Cluster
from streams.engine.errors import classify
from streams.engine.restore import bounds

Place = tuple[str, int]
RECENT = 20_000
"""Records per partition of a compacted topic that are read at once; what is older is read beside what is live."""
Arrival = tuple[Topic[Any], str, Any, str]
"""Topic, key, record and ``ce_source``."""


class Follower:
    """All topics but the journal: compacted ones whole, since they hold what is, of the others the last ``tail``.

    A compacted topic keeps overwritten records for days, so its beginning may be far away: its newest records are read
    first, and the older ones fill in the keys that have not been seen. Use as a context manager.
    """

    def __init__(self, cluster: Cluster, *, tail: int = 0, timeout: float = 15.0) -> None:
        """``tail``: records per partition from before now. Raises EngineError or CommandError when Kafka lacks them."""
        cluster = quiet(cluster)
        self._topics = {cluster.named(t.name): t for t in topics.ALL if t is not topics.journal}
        self._consumer = cluster.reader("screen", fetch_wait_max_ms=50)
        ends = bounds(cluster, self._places(cluster, timeout), timeout)
        start: dict[Place, int] = {}
        self._history: dict[Place, int] = {}
        """Where the live reading of compacted partitions began, as long as the part before it is being read."""
        for place, (low, high) in ends.items():
            start[place] = max(low, high - (RECENT if self._topics[place[0]].compacted else tail))
            if self._topics[place[0]].compacted and start[place] > low:
                self._history[place] = start[place]
        self._seen: set[tuple[str, bytes]] = set()
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in start.items()])
        self._past: Consumer | None = None
        if self._history:
            self._past = cluster.reader("screen", enable_partition_eof=True)
            self._past.assign([TopicPartition(*place, ends[place][0]) for place in self._history])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, timeout: float) -> Iterator[Arrival]:
        """Records that arrive within ``timeout`` seconds, at most some thousand. Raises EngineError."""
        messages = self._consumer.consume(1, timeout)
        messages += self._consumer.consume(2_000, 0) if messages else []
        for message in messages:
            if error := message.error():
                raise classify(KafkaException(error), "following the topics")
            topic = self._topics[message.topic() or ""]
            if topic.compacted and self._past is not None:
                self._seen.add((message.topic() or "", message.key() or b""))
            yield from self._decoded(topic, message)
        if self._past is not None:
            yield from self._older(self._past)

    def during(self, seconds: float, stop: threading.Event) -> Iterator[Arrival]:
        """Records that arrive within ``seconds``, or until ``stop`` is set. Raises EngineError."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not stop.is_set():
            yield from self.read(left)

    def close(self) -> None:
        """Give the connections back."""
        self._consumer.close()
        self._end_history()

    def _older(self, past: Consumer) -> Iterator[Arrival]:
        for message in past.consume(5_000, 0):
            place = (message.topic() or "", message.partition() or 0)
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise classify(KafkaException(error), "reading what was before")
                self._history.pop(place, None)
            elif place not in self._history:
                continue
            elif (message.offset() or 0) >= self._history[place]:
                del self._history[place]
                past.incremental_unassign([TopicPartition(*place)])
            elif (place[0], message.key() or b"") not in self._seen:
                yield from self._decoded(self._topics[place[0]], message)
        if not self._history:
            self._end_history()

    def _end_history(self) -> None:
        if self._past is not None:
            self._past.close()
            self._past = None
            self._seen.clear()

    @staticmethod
    def _decoded(topic: Topic[Any], message: Message) -> Iterator[Arrival]:
        value, key = message.value(), message.key()
        if value is None:
            return
        try:
            record = topic.decode(value)
        except (msgspec.MsgspecError, ValueError, TypeError):
            return  # not for a screen: whoever processes it sends it to the dead letters
        text = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key or ""
        yield topic, text, record, cloudevents.read(_headers(message)).get("ce_source", "")

    def _places(self, cluster: Cluster, timeout: float) -> list[Place]:
        try:
            present = self._consumer.list_topics(timeout=timeout).topics
        except KafkaException as error:
            raise classify(error, f"asking {cluster.bootstrap} for its topics") from error
        if missing := sorted(name for name in self._topics if name not in present):
            raise CommandError(
                f"{cluster.bootstrap} has no topic {', '.join(missing)}. gridtape makes its topics when it first runs; "
                "is the prefix (GRIDTAPE_TOPIC_PREFIX) right, and may this principal see them? `gridtape doctor` shows "
                "more."
            )
        return [(name, partition) for name in self._topics for partition in present[name].partitions]


def _headers(message: Message) -> list[tuple[str, str | bytes | None]]:
    found = message.headers() or []
    return list(found.items()) if isinstance(found, dict) else found
