"""A broker that makes up a topic for every message: nothing is kept of them, and the rest goes on."""

from __future__ import annotations

import os
import socket
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from connectors.connector import Connector
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from connectors.outlet import Waiting
from connectors.sparkplug.config import SparkplugConfig
from connectors.sparkplug.connector import SparkplugConnector
from connectors.sparkplug.simulator import encode
from tests.conftest import wait_until

TOPICS = int(os.environ.get("GRIDTAPE_TEST_TOPICS", "4000"))
"""A million takes minutes."""
NDATA = encode(0, [], 1_795_244_400_250)
PLAIN = {"payload": "number", "points": [{"name": "flow", "unit": "m3/h"}]}


class Forgetful:
    """An outlet to which everything is in Kafka at once; it counts dead letters and keeps the last sample."""

    def __init__(self) -> None:
        self.letters = 0
        self.last: Any = None

    def publish(self, _topic: Any, _key: str, record: Any, *, done: Callable[[None], None] | None = None, **_: Any):
        self.last = record
        if done:
            done(None)

    def dead_letter(self, *, done: Callable[[None], None] | None = None, **_: Any) -> None:
        self.letters += 1
        if done:
            done(None)

    def flush(self, _timeout: float) -> int:
        return 0

    def waiting(self) -> Waiting:
        return Waiting()


def mqtt(port: int, outlet: Any) -> Connector:
    settings = {"host": "127.0.0.1", "port": port, "protocol": "3.1.1", "devices": [{"name": "b1"}]}
    subscriptions = [{"filter": "plain/{device}/{point}", **PLAIN}]
    return MqttConnector(MqttConfig.model_validate({**settings, "subscriptions": subscriptions}), outlet)


def sparkplug(port: int, outlet: Any) -> Connector:
    device = {"name": "d", "group": "g", "node": "n", "points": [{"metric": "m", "unit": "1"}]}
    settings = {"host": "127.0.0.1", "port": port, "protocol": "3.1.1", "host_id": "h", "devices": [device]}
    return SparkplugConnector(SparkplugConfig.model_validate(settings), outlet)


def publish(topic: str, payload: bytes) -> bytes:
    """PUBLISH, QoS 0."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + payload
    return bytes([0x30, len(body)]) + body


def flood(peer: socket.socket, numbers: range, topic: str, payload: bytes) -> None:
    for start in range(numbers.start, numbers.stop, 1000):
        some = range(start, min(start + 1000, numbers.stop))
        peer.sendall(b"".join(publish(topic.format(n=number), payload) for number in some))


@pytest.mark.parametrize(
    ("make", "topic", "payload"),
    [(mqtt, "plain/made-up-{n}/flow", b"1.5"), (sparkplug, "spBv1.0/made-up-{n}/NDATA/n", NDATA)],
)
def test_connector_when_the_broker_makes_up_topics_memory_does_not_grow_with_them(make, topic, payload) -> None:
    outlet, stop = Forgetful(), threading.Event()
    before = REGISTRY.get_sample_value("gridtape_sparkplug_dropped_total", {"node": ""}) or 0.0

    def seen() -> float:
        return outlet.letters + (REGISTRY.get_sample_value("gridtape_sparkplug_dropped_total", {"node": ""}) or before)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        connector = make(listener.getsockname()[1], outlet)
        thread = threading.Thread(target=connector.run, args=(stop,))
        thread.start()
        try:
            listener.settimeout(10)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(60)
                peer.recv(1000)
                peer.sendall(bytes.fromhex("20020000"))
                peer.sendall(bytes.fromhex("9003") + peer.recv(1000)[2:4] + b"\1")
                flood(peer, range(1000), topic, payload)
                wait_until(lambda: seen() >= before + 1000)
                tracemalloc.start()
                flood(peer, range(1000, 1000 + TOPICS), topic, payload)
                wait_until(lambda: seen() >= before + 1000 + TOPICS, 600)
                grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            stop.set()
            thread.join(10)
    assert not thread.is_alive()
    assert grown < 80 * TOPICS, "less than a topic's name takes for each"
