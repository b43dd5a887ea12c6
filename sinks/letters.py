"""Dead letters of the sinks: a record that cannot be delivered, kept with where it stands and why."""

from __future__ import annotations

import time

from confluent_kafka import KafkaError, KafkaException, Message

from schemas import cloudevents, topics
from schemas.base import EARLIEST_TIME, LATEST_TIME, Coordinates
from schemas.dead_letters import RAW_LIMIT, DeadLetter
from sinks.sink import Unavailable, identifier
from streams.engine.cluster import Cluster

_TEXT_LIMIT = 2000
_ACK_SECONDS = 2.5


def letter_of(name: str, at: Coordinates, key: str, raw: bytes, kafka_time: int, reason: str) -> DeadLetter:
    """The dead letter of the record at ``at`` from the sink ``name``: the same record gives the same id.

    ``kafka_time``: the record's Kafka timestamp in microseconds, which is the letter's time too, so that a letter
    written again after a crash is the same letter.
    """
    time_ = min(max(kafka_time, EARLIEST_TIME), LATEST_TIME - 1)
    return DeadLetter(
        letter_id=identifier(name, at.topic, str(at.partition), str(at.offset)),
        application=name,
        reason=_text(reason),
        at=at,
        source=f"sinks/{name}",
        key=_text(key),
        raw=raw[:RAW_LIMIT],
        size=len(raw),
        event_time=time_,
        receive_time=time_,
    )


class Letters:
    """Writes dead letters of the application ``name`` and waits until Kafka has acknowledged them. Not thread-safe."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._producer = cluster.publisher()

    def write(self, at: Coordinates, key: str, raw: bytes, kafka_time: int, reason: str) -> None:
        """Put the record at ``at`` aside; see :func:`letter_of`.

        Raises Unavailable when Kafka does not acknowledge; then it may be written twice, with the same id.
        """
        letter = letter_of(self._name, at, key, raw, kafka_time, reason)
        topic = topics.dead_letters
        failed: list[KafkaError | None] = []

        def settled(error: KafkaError | None, _message: Message) -> None:
            failed.append(error)

        try:
            self._producer.produce(
                self._cluster.named(topic.name),
                topic.encode(letter),
                key=self._name.encode(),
                headers=cloudevents.headers(topic.kind, f"sinks/{self._name}", letter.letter_id, letter.event_time),
                on_delivery=settled,
            )
        except (KafkaException, BufferError) as error:
            raise Unavailable(f"the dead letter of {at} was not written: {error}") from error
        deadline = time.monotonic() + _ACK_SECONDS
        while not failed and time.monotonic() < deadline:
            self._producer.poll(0.05)
        if not failed or failed[0] is not None:
            self._renew()
            why = failed[0].str() if failed and failed[0] is not None else "Kafka did not acknowledge it in time"
            raise Unavailable(f"the dead letter of {at} was not written: {why}")

    def _renew(self) -> None:
        # What is still queued would otherwise be sent a second time beside the next attempt.
        self._producer.purge()
        self._producer = self._cluster.publisher()


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()[:_TEXT_LIMIT]
