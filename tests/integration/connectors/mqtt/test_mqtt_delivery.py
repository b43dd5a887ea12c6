"""A message is acknowledged to the broker only after Kafka has it: on Mosquitto, with both sides failing."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import REGISTRY

from connectors.mqtt.connector import MqttConnector
from connectors.publisher import Publisher
from schemas import topics
from schemas.base import Quality
from streams.engine.cluster import Cluster
from streams.local.mqtt import Mosquitto, find_mosquitto


class Counted(Publisher):
    """A publisher that leaves the devices' life cycle out, so that a test can count what waits."""

    def publish(self, topic, *args, **kwargs):
        if topic is not topics.devices:
            super().publish(topic, *args, **kwargs)


@contextmanager
def connected(config, publisher):
    """A connector whose publisher the test looks into."""
    stop = threading.Event()
    thread = threading.Thread(target=MqttConnector(config, publisher).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        publisher.close(0.0)
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def own_mosquitto(tmp_path):
    """A Mosquitto that the test may stop and kill."""
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (Debian: apt-get install mosquitto)")
    with Mosquitto(tmp_path / "mosquitto") as broker:
        yield broker


def is_live() -> bool:
    return (
        REGISTRY.get_sample_value("gridtape_connector_state", {"connector": "mqtt", "device": "", "state": "live"})
        == 1.0
    )


def test_mqtt_when_kafka_never_acknowledged_the_broker_still_has_every_message(
    mosquitto, device, settings, running, tape
):
    config = settings(mosquitto)
    away = Counted(Cluster("127.0.0.1:1"), "mqtt-away")
    with connected(config, away):
        tape.until(is_live, "connected")
        for number in range(1, 21):
            device.sample(number, number)
        tape.until(lambda: away.outstanding == 20, "all messages wait for Kafka")
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: len(tape.samples("soc")) >= 20, "all messages come again")
    assert [s.value for s in tape.samples("soc")] == list(range(1, 21))
    assert not tape.gaps("sequence")


def test_mqtt_when_kafka_is_away_no_more_than_the_receive_maximum_is_taken(mosquitto, device, settings, running, tape):
    config = settings(mosquitto, receive_maximum=5)
    away = Counted(Cluster("127.0.0.1:1"), "mqtt-window")
    with connected(config, away):
        tape.until(is_live, "connected")
        for number in range(1, 21):
            device.sample(number, number)
        # QoS 0 overtakes the window: when the marker is here, the rest has stayed with the broker.
        device.raw("plain/b1/flow", b"1", qos=0)
        tape.until(lambda: away.outstanding == 6, "five messages and the marker")
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: len(tape.samples("soc")) >= 20, "all messages")
    assert [s.value for s in tape.samples("soc")] == list(range(1, 21))


def test_mqtt_when_the_publisher_is_full_reading_goes_on_in_order_once_kafka_is_there(
    mosquitto, device, settings, cluster, late_kafka, tape
):
    config = settings(mosquitto, receive_maximum=50)
    small = Counted(Cluster(late_kafka.address, prefix=cluster.prefix), "mqtt-full", max_outstanding=3)
    degraded = {"connector": "mqtt", "device": "", "state": "degraded"}
    with connected(config, small):
        tape.until(is_live, "connected")
        for number in range(1, 31):
            device.sample(number, number)
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", degraded) == 1, "full")
        assert small.outstanding == 3
        late_kafka.come()
        tape.until(lambda: len(tape.samples("soc")) >= 30, "all messages")
        tape.until(is_live, "no longer degraded")
    assert [s.value for s in tape.samples("soc")] == list(range(1, 31))


def test_mqtt_when_the_broker_restarts_while_kafka_is_away_nothing_is_lost_and_old_acknowledgements_are_dropped(
    own_mosquitto, field_device, settings, cluster, late_kafka, tape
):
    address = ("127.0.0.1", own_mosquitto.port)
    config = settings(address)
    publisher = Counted(Cluster(late_kafka.address, prefix=cluster.prefix), "mqtt-both")
    down = {"connector": "mqtt", "device": "b1", "state": "down"}
    with connected(config, publisher):
        tape.until(is_live, "connected")
        first = field_device(address)
        for number in range(1, 6):
            first.sample(number, number)
        tape.until(lambda: publisher.outstanding == 5, "five messages wait for Kafka")
        first.close()
        own_mosquitto.stop()
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", down) == 1, "disconnected")
        own_mosquitto.start()
        # The five come again from the broker's disk (each beside its first copy), with the gap that closes.
        tape.until(lambda: publisher.outstanding >= 5 + 5 + 2, "the five have come again")
        late_kafka.come()
        second = field_device(address)
        second.sample(6, 6)
        tape.until(lambda: any(s.value == 6 for s in tape.samples("soc")), "the next message")
    values = [s.value for s in tape.samples("soc")]
    assert set(values) == set(range(1, 7))
    assert values[:5] == list(range(1, 6))
    ids = [i for i in tape.ids if i.startswith("b1/soc/")]
    assert len(set(ids)) == 6, "what came again has its old id"
    assert [g.open for g in tape.gaps("disconnected")] == [True, False]


def test_mqtt_when_the_broker_comes_back_without_its_memory_values_keep_their_names_and_none_is_lost(
    own_mosquitto, field_device, settings, cluster, late_kafka, tape
):
    """Killed and without its files: sessions and subscriptions are gone, message ids begin anew and meet old ones."""
    address = ("127.0.0.1", own_mosquitto.port)
    config = settings(address, receive_maximum=3)
    publisher = Counted(Cluster(late_kafka.address, prefix=cluster.prefix), "mqtt-forgotten")
    with connected(config, publisher):
        tape.until(is_live, "connected")
        first = field_device(address)
        for number in (1, 2, 3):
            first.sample(number, number)
        tape.until(lambda: publisher.outstanding == 3, "three messages wait for Kafka, under the ids 1 to 3")
        # The guard's whole group: what is started there is ours and ends with it.
        os.killpg(own_mosquitto._process.pid, signal.SIGKILL)
        first.close()
        own_mosquitto.stop()
        shutil.rmtree(own_mosquitto.data)
        own_mosquitto.start()
        tape.until(lambda: publisher.outstanding == 4 and is_live(), "connected again; the gap is on its way")
        second = field_device(address)
        for number in range(1, 7):  # of which three come now, under the ids 1 to 3
            second.sample(number / 10, number, point="power")
        tape.until(lambda: publisher.outstanding == 3 + 2 + 3, "three other messages wait for Kafka")
        late_kafka.come()
        tape.until(lambda: len(tape.samples("power")) == 6, "all that the broker took")
        tape.until(lambda: len(tape.gaps("disconnected")) == 2, "the gap")
    assert [sample.value for sample in tape.samples("soc")] == [1, 2, 3]
    assert [sample.value for sample in tape.samples("power")] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    opened, closed = tape.gaps("disconnected")
    assert (opened.key, opened.open, closed.open, closed.gap_id) == ("b1", True, False, opened.gap_id)


def test_mqtt_when_a_message_was_retained_it_is_marked_and_closes_no_gap(
    own_mosquitto, field_device, settings, running, tape
):
    address = ("127.0.0.1", own_mosquitto.port)
    field_device(address).raw("plain/b1/flow", b"7", retain=True)
    own_mosquitto.stop()
    config = settings(address)
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: tape.gaps("disconnected"), "the gap opens")
        own_mosquitto.start()
        tape.until(lambda: tape.samples("flow"), "the retained value")
        field_device(address).raw("plain/b1/flow", b"8")
        tape.until(lambda: len(tape.samples("flow")) == 2, "the live value")
        tape.until(lambda: len(tape.gaps()) == 2, "the gap closes")
    kept, live = tape.samples("flow")
    assert (kept.value, kept.quality, live.value, live.quality) == (7, Quality.UNCERTAIN, 8, Quality.GOOD)
    assert "retained" in kept.reason
    assert live.reason == ""
    opened, closed = tape.gaps()
    assert (opened.open, closed.open) == (True, False)
    assert closed.receive_time == live.receive_time > kept.receive_time, "the live value closed it"


class RefusingOnce:
    """A real producer that refuses the first record."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._refused = False

    def produce(self, *args: Any, **kwargs: Any) -> None:
        if not self._refused:
            self._refused = True
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        self._producer.produce(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class RefusingCluster(Cluster):
    def publisher(self, **extra: Any) -> Any:
        return RefusingOnce(super().publisher(**extra))


def test_mqtt_when_kafka_refuses_a_record_the_broker_is_made_to_send_it_again(
    mosquitto, device, settings, cluster, tape
):
    config = settings(mosquitto)
    publisher = Counted(RefusingCluster(cluster.bootstrap, prefix=cluster.prefix), "mqtt-refused")
    with connected(config, publisher):
        tape.until(is_live, "connected")
        device.sample(1, 1)
        tape.until(lambda: tape.samples("soc"), "the refused sample, sent again")
    assert [s.value for s in tape.samples("soc")] == [1]
    assert "Kafka did not take a message" in tape.gaps("disconnected")[0].detail


def test_mqtt_when_another_client_takes_the_session_over_both_go_on_trying(mosquitto, device, settings, running, tape):
    config = settings(mosquitto)
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(is_live, "connected")
        with running(lambda publisher: MqttConnector(config, publisher)):
            tape.until(lambda: tape.gaps("disconnected"), "one was put out")
            assert "another client may be using the client_id" in tape.gaps("disconnected")[0].detail
        device.sample(1, 1)
        tape.until(lambda: tape.samples("soc"), "the one that stays goes on")
