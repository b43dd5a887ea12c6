"""The publisher on a real Kafka."""

from __future__ import annotations

import base64
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import NewTopic
from prometheus_client import REGISTRY

from connectors.publisher import Publisher
from schemas import cloudevents, topics
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster

T = 1_795_244_400_250_000


def sample(number: int, **changes) -> Telemetry:
    fields = {"device": "d", "point": "p", "value": float(number), "unit": "MW", "sequence": number, "event_time": T}
    return Telemetry(**{"receive_time": T, **fields, **changes})


@pytest.fixture
def publisher(cluster):
    publisher = Publisher(cluster, "test-kafka")
    yield publisher
    publisher.close()


def test_publisher_when_kafka_acknowledges_says_so_and_keeps_order_key_and_event_headers(cluster, publisher, tape):
    answers = []
    for number in range(500):
        publisher.publish(topics.telemetry, "d", sample(number), event_id=f"d/p/{number}", done=answers.append)
    assert publisher.flush(20) == 0
    assert answers == [None] * 500
    tape.until(lambda: len(tape.records) == 500, "all records")
    assert [r.sequence for r in tape.records] == list(range(500))
    assert tape.ids == [f"d/p/{number}" for number in range(500)]

    consumer = cluster.reader("headers")
    consumer.subscribe([cluster.named("telemetry")])
    (message,) = consumer.consume(1, 20)
    consumer.close()
    assert message.key() == b"d"
    headers = cloudevents.read(message.headers())
    assert headers["ce_type"] == "gridtape.telemetry.v1"
    assert headers["ce_source"] == "/gridtape/connectors/test-kafka"
    assert headers["ce_time"] == cloudevents.timestamp(T)
    assert headers["content-type"] == "application/json"


def test_publisher_when_several_threads_publish_much_keeps_each_key_in_order_and_tells_from_its_own_thread(
    cluster, publisher, tape
):
    told = []

    def publish(device: str) -> None:
        asks = device in ("d0", "d2")
        for number in range(400):
            record = sample(number, device=device)
            done = (lambda error: told.append((error, threading.current_thread().name))) if asks else None
            publisher.publish(topics.telemetry, device, record, event_id=f"{device}/{number}", done=done)

    devices = [f"d{number}" for number in range(4)]
    with ThreadPoolExecutor(len(devices)) as pool:
        list(pool.map(publish, devices))
    assert publisher.flush(20) == 0
    # Whoever publishes takes reports as well, but what is asked for is told by one thread.
    assert told == [(None, "publisher-test-kafka")] * 800
    tape.until(lambda: len(tape.records) == 1600, "all records")
    for device in devices:
        assert [r.sequence for r in tape.records if r.device == device] == list(range(400))


@pytest.mark.parametrize(
    ("record", "key", "reason"),
    [
        (sample(1, value=float("nan")), "d", "NaN"),
        (sample(1, event_time=0), "d", "event_time"),
        (sample(1, reason="\ud800"), "d", "surrogate"),
        (sample(1), "\ud800", "surrogate"),
        (sample(1, device=None), "d", "device"),
    ],
)
def test_publisher_when_a_record_breaks_its_contract_it_becomes_a_dead_letter(publisher, tape, record, key, reason):
    answers = []
    publisher.publish(topics.telemetry, key, record, event_id="x", done=answers.append)
    publisher.publish(topics.telemetry, "d", sample(2), event_id="y", done=answers.append)
    assert publisher.flush(20) == 0
    assert answers == [None, None]
    tape.until(lambda: len(tape.records) == 2, "the dead letter and the good record")
    (letter,) = tape.letters()
    assert letter.reason.startswith("not a valid telemetry: ")
    assert reason in letter.reason
    assert (letter.application, letter.source, letter.at) == ("test-kafka", "test-kafka:telemetry", None)
    assert letter.raw.startswith(b"Telemetry(")
    assert [s.value for s in tape.samples("p")] == [2]


def test_publisher_when_a_record_is_larger_than_kafka_takes_it_becomes_a_dead_letter(cluster, tape, wanted):
    # Below the fixture's prefix, so that the fixture cleans it up.
    small = Cluster(cluster.bootstrap, prefix=f"{cluster.prefix}-small")
    admin = small.admin()
    limits = {topics.telemetry: {"max.message.bytes": "1000"}}
    made = [NewTopic(small.named(topic.name), 1, 1, config=limits.get(topic, {})) for topic in wanted]
    for created in admin.create_topics(made).values():
        created.result(20)
    names = {topic.topic for topic in made}
    tape.until(lambda: names <= admin.list_topics(timeout=10).topics.keys(), "the topics are there")
    small_tape = type(tape)(small, wanted)
    publisher = Publisher(small, "test-large")
    answers = []
    # One that the broker refuses (incompressible, over the topic's limit) and one that never leaves the client.
    noise = base64.b85encode(hashlib.shake_256(b"seed").digest(1600)).decode()
    for done in (answers.append, None):
        publisher.publish(topics.telemetry, "d", sample(1, reason=noise), event_id="1", done=done)
        publisher.publish(topics.telemetry, "d", sample(2), event_id="x" * 2_000_000, done=done)
    assert publisher.flush(20) == 0
    publisher.publish(topics.telemetry, "d", sample(3), event_id="3", done=answers.append)
    assert publisher.flush(20) == 0
    publisher.close()
    assert answers == [None] * 3
    small_tape.until(lambda: len(small_tape.records) == 5, "four dead letters and the good record")
    small_tape.close()
    assert all("too large" in letter.reason for letter in small_tape.letters())
    assert all(b"Telemetry(device='d'" in letter.raw for letter in small_tape.letters())
    assert [s.value for s in small_tape.samples("p")] == [3]


def test_publisher_when_it_has_published_the_metrics_tell(cluster, tape):
    publisher = Publisher(cluster, "test-metrics")
    for number in range(7):
        publisher.publish(topics.telemetry, "d", sample(number), event_id=str(number))
    publisher.dead_letter(source="mqtt:x", reason="why", raw=b"raw", receive_time=T)
    assert publisher.flush(20) == 0
    publisher.close()
    value = REGISTRY.get_sample_value
    assert value("gridtape_connector_published_total", {"connector": "test-metrics", "topic": "telemetry"}) == 7
    assert value("gridtape_connector_published_total", {"connector": "test-metrics", "topic": "dead-letters"}) == 1
    assert value("gridtape_connector_dead_letters_total", {"connector": "test-metrics"}) == 1
    tape.until(lambda: tape.letters(), "the dead letter")
    assert (tape.letters()[0].raw, tape.letters()[0].receive_time) == (b"raw", T)
