"""Reads what the pipeline commits, as any downstream system would, from the moment the demonstration starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from schemas import cloudevents, topics
from schemas.topics import Topic
from streams.engine.cluster import Cluster
from streams.engine.errors import classify
from streams.engine.restore import bounds


class Follower:
    """All topics of the schemas: compacted ones from their beginning (they hold what is), the others from now on."""

    def __init__(self, cluster: Cluster) -> None:
        """Raises EngineError when the cluster cannot be asked."""
        self._topics = {cluster.named(t.name): t for t in topics.ALL if t is not topics.journal}
        self._consumer = cluster.reader("demo-screen", fetch_wait_max_ms=50)
        present = cluster.admin().list_topics(timeout=15).topics
        places = [(name, p) for name in self._topics for p in present[name].partitions]
        ends = bounds(cluster, places, 15)
        self._consumer.assign(
            [
                TopicPartition(name, p, low if self._topics[name].compacted else high)
                for (name, p), (low, high) in ends.items()
            ]
        )

    def read(self, timeout: float) -> Iterator[tuple[Topic[Any], str, Any, str]]:
        """Records that arrive within ``timeout`` seconds: topic, key, record and ``ce_source``."""
        messages = self._consumer.consume(1, timeout)
        messages += self._consumer.consume(1000, 0) if messages else []
        for message in messages:
            if error := message.error():
                raise classify(KafkaException(error), "following the topics")
            topic = self._topics[message.topic() or ""]
            key = (message.key() or b"").decode("utf-8", "backslashreplace")
            try:
                record = topic.decode(message.value() or b"")
            except ValueError:
                continue  # not for a screen: whoever processes it sends it to the dead letters
            yield topic, key, record, cloudevents.read(message.headers()).get("ce_source", "")

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()
