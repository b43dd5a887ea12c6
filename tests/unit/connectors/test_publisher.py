"""The publisher without a Kafka, and with one whose producer is made to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from prometheus_client import REGISTRY

from connectors import letters
from connectors.publisher import Full, Publisher
from schemas import topics
from schemas.dead_letters import RAW_LIMIT
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster

T = 1_795_244_400_250_000
NOWHERE = "127.0.0.1:1"


def sample(value: float | None = 1.0, **changes: Any) -> Telemetry:
    fields = {"device": "d", "point": "p", "value": value, "unit": "MW", "sequence": 1, "event_time": T}
    return Telemetry(**{"receive_time": T, **fields, **changes})


@pytest.fixture
def away() -> Iterator[Publisher]:
    """A publisher whose Kafka is not there."""
    publisher = Publisher(Cluster(NOWHERE), "test-away", max_outstanding=4)
    yield publisher
    publisher.close(0.0)


def test_publisher_when_kafka_is_away_takes_what_fits_then_is_full_and_confirms_nothing(away: Publisher) -> None:
    answers: list[str | None] = []
    for number in range(4):
        away.publish(topics.telemetry, "d", sample(), event_id=str(number), done=answers.append)
    for offer in (
        lambda: away.publish(topics.telemetry, "d", sample(), event_id="x", done=answers.append),
        lambda: away.publish(topics.telemetry, "d", sample(float("nan")), event_id="x", done=answers.append),
        lambda: away.dead_letter(source="s", reason="r", raw=b"", receive_time=T, done=answers.append),
    ):
        with pytest.raises(Full, match=NOWHERE):
            offer()
    assert (away.outstanding, away.flush(0.1), answers) == (4, 4, [])


def test_publisher_when_closed_without_kafka_tells_every_source_that_its_record_is_not_there() -> None:
    publisher = Publisher(Cluster(NOWHERE), "test-closed")
    answers: list[str | None] = []
    for number in range(3):
        publisher.publish(topics.telemetry, "d", sample(), event_id=str(number), done=answers.append)
    for number in range(200):  # so many that whoever publishes looks for reports as well
        publisher.publish(topics.telemetry, "d", sample(), event_id=f"unasked/{number}")
    publisher.close(0.0)
    assert len(answers) == 3
    assert all(answer and "PURGE" in answer for answer in answers)
    assert publisher.outstanding == 0
    with pytest.raises(Full, match="closed"):
        publisher.publish(topics.telemetry, "d", sample(), event_id="late")
    assert REGISTRY.get_sample_value("gridtape_connector_spool_messages", {"connector": "test-closed"}) is None
    labels = {"connector": "test-closed", "topic": "telemetry"}
    assert REGISTRY.get_sample_value("gridtape_connector_delivery_errors_total", labels) == 203
    publisher.close()


def test_publisher_when_full_waiting_for_room_ends_with_stop(away: Publisher) -> None:
    for number in range(4):
        away.publish(topics.telemetry, "d", sample(), event_id=str(number))
    stop = threading.Event()
    answer: list[bool] = []
    waiter = threading.Thread(target=lambda: answer.append(away.wait_for_room(stop)))
    waiter.start()
    assert waiter.is_alive()
    stop.set()
    waiter.join(5)
    assert answer == [False]


def test_publisher_when_there_is_room_does_not_wait(away: Publisher) -> None:
    assert away.wait_for_room(threading.Event())


class Faulty:
    """A real producer whose first ``produce`` calls raise."""

    def __init__(self, producer: Producer, errors: list[Exception]) -> None:
        self._producer = producer
        self._errors = errors

    def produce(self, *args: Any, **kwargs: Any) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self._producer.produce(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class FaultyCluster(Cluster):
    """A cluster whose producers raise the given errors first, and that counts them."""

    errors: list[Exception]
    made: list[Any]

    def publisher(self, **extra: Any) -> Any:
        self.made.append(super().publisher(**extra))
        return Faulty(self.made[-1], self.errors)


def faulty(*errors: Exception) -> FaultyCluster:
    cluster = FaultyCluster(NOWHERE)
    object.__setattr__(cluster, "errors", list(errors))
    object.__setattr__(cluster, "made", [])
    return cluster


def test_publisher_when_the_producer_fails_for_good_is_replaced_and_goes_on() -> None:
    cluster = faulty(KafkaException(KafkaError(KafkaError._FATAL, "fenced", fatal=True)))
    publisher = Publisher(cluster, "test-fatal")
    with pytest.raises(Full, match="made anew"):
        publisher.publish(topics.telemetry, "d", sample(), event_id="1")
    assert publisher.wait_for_room(threading.Event())
    assert len(cluster.made) == 2
    publisher.publish(topics.telemetry, "d", sample(), event_id="1")
    assert publisher.outstanding == 1
    publisher.close(0.0)


def test_publisher_when_librdkafka_is_full_says_so_and_nothing_has_happened() -> None:
    publisher = Publisher(faulty(BufferError("Local: Queue full")), "test-queue")
    with pytest.raises(Full, match="queue is full"):
        publisher.publish(topics.telemetry, "d", sample(), event_id="1")
    assert publisher.outstanding == 0
    publisher.close(0.0)


def test_publisher_when_a_topic_is_refused_tells_the_source() -> None:
    publisher = Publisher(faulty(KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))), "test-topic")
    answers: list[str | None] = []
    publisher.publish(topics.telemetry, "d", sample(), event_id="1", done=answers.append)
    assert publisher.flush(10) == 0
    assert answers
    assert answers[0]
    assert "_UNKNOWN_TOPIC" in answers[0]
    labels = {"connector": "test-topic", "topic": "telemetry"}
    publisher.close(0.0)
    assert REGISTRY.get_sample_value("gridtape_connector_delivery_errors_total", labels) == 1


def test_publisher_when_a_callback_fails_goes_on_with_the_others() -> None:
    unknown = KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
    publisher = Publisher(faulty(unknown, unknown), "test-callback")

    def fail(_error: str | None) -> None:
        raise LookupError("a fault of the caller")

    answers: list[str | None] = []
    publisher.publish(topics.telemetry, "d", sample(), event_id="1", done=fail)
    publisher.publish(topics.telemetry, "d", sample(), event_id="2", done=answers.append)
    assert publisher.flush(10) == 0
    assert len(answers) == 1
    publisher.close(0.0)


def test_publisher_when_it_may_hold_nothing_refuses() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Publisher(Cluster(NOWHERE), "test-none", max_outstanding=0)


@pytest.mark.parametrize(
    "record",
    [sample(float("nan")), sample(float("inf")), sample(event_time=0), sample(sequence=-1), sample(unit="x" * 41)],
)
def test_letters_when_a_record_breaks_its_contract_it_is_noticed(record: Telemetry) -> None:
    with pytest.raises(ValueError):
        letters.checked(topics.telemetry, record)


def test_letters_when_a_record_is_wrong_the_letter_is_valid_and_keeps_what_is_usable() -> None:
    for record, kept in ((sample(float("nan")), True), (sample(receive_time=3), False)):
        letter = letters.of_record(application="mqtt", topic=topics.telemetry, key="d", record=record, reason="why")
        assert topics.dead_letters.decode(topics.dead_letters.encode(letter)) == letter
        assert (letter.receive_time == T) is kept
        assert b"Telemetry(device='d'" in letter.raw


def test_letters_when_texts_and_bytes_are_too_long_or_no_text_they_are_made_to_fit() -> None:
    given = {"application": "mqtt", "source": "mqtt:\ud800" + "x" * 3000, "reason": "y" * 3000, "key": "k\udfff"}
    letter = letters.dead_letter(raw=b"\xff" * (RAW_LIMIT + 5), receive_time=T, **given)
    assert (len(letter.raw), letter.size) == (RAW_LIMIT, RAW_LIMIT + 5)
    assert topics.dead_letters.decode(topics.dead_letters.encode(letter)) == letter
    again = letters.dead_letter(raw=b"\xff" * (RAW_LIMIT + 5), receive_time=T, **given)
    other = letters.dead_letter(raw=b"\xff" * (RAW_LIMIT + 5), receive_time=T + 1, **given)
    assert letter.letter_id == again.letter_id != other.letter_id
