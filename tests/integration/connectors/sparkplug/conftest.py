"""What the Sparkplug tests share: settings, an observer, our own edge node, and one of npm's sparkplug-client."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from connectors.sparkplug.address import Node, Verb
from connectors.sparkplug.config import SparkplugConfig
from connectors.sparkplug.simulator import EdgeNode
from tests.npm import NodeProcess, installed

NODE_SOURCES = Path(__file__).parent / "node"


@pytest.fixture
def group() -> str:
    """A group of the test's own, so that tests can share a broker."""
    return f"g{time.time_ns()}"


@pytest.fixture
def settings(group: str) -> Callable[..., SparkplugConfig]:
    """Settings for a broker here with node n and its device d; keyword arguments replace what stands here."""

    def make(address: tuple[str, int], **changes: Any) -> SparkplugConfig:
        points = [
            {"metric": "Power/AC", "name": "power", "unit": "kW", "range": {"minimum": -100, "maximum": 100}},
            {"metric": "Temperature", "name": "temperature", "unit": "Cel", "eng_unit": "°C"},
        ]
        return SparkplugConfig.model_validate(
            {
                "host": address[0],
                "port": address[1],
                "client_id": f"test-{group}",
                "host_id": f"host-{group}",
                "backoff_ceiling": 0.5,
                "reorder_timeout": 0.3,
                "rebirth_interval": 0.5,
                "devices": [
                    {"name": "node", "group": group, "node": "n", "points": [{"metric": "Voltage", "unit": "V"}]},
                    {"name": "device", "group": group, "node": "n", "device": "d", "points": points},
                ],
                **changes,
            }
        )

    return make


class Watcher:
    """A client that keeps all it is sent, in order: topic, payload, QoS, retained."""

    def __init__(self, address: tuple[str, int], *filters: str) -> None:
        self.messages: list[tuple[str, bytes, int, bool]] = []
        ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self.client.on_connect = lambda *_: self.client.subscribe([(one, 2) for one in filters])
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = lambda _c, _d, m: self.messages.append((m.topic, m.payload, m.qos, bool(m.retain)))
        self.client.connect(*address)
        self.client.loop_start()
        assert ready.wait(10), "the broker did not answer"

    def on(self, part: str) -> list[tuple[str, bytes, int, bool]]:
        return [message for message in self.messages if part in message[0]]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def watcher() -> Iterator[Callable[..., Watcher]]:
    """Further observers."""
    with contextlib.ExitStack() as stack:

        def make(address: tuple[str, int], *filters: str) -> Watcher:
            one = Watcher(address, *filters)
            stack.callback(one.close)
            return one

        yield make


@pytest.fixture
def watch(mosquitto: tuple[str, int], group: str) -> Iterator[Watcher]:
    """Sees the group's messages and the host's STATE."""
    one = Watcher(mosquitto, f"spBv1.0/{group}/#", f"spBv1.0/STATE/host-{group}")
    yield one
    one.close()


@pytest.fixture
def edge(mosquitto: tuple[str, int], group: str, watch: Watcher) -> EdgeNode:
    """Our own edge node n: it publishes through the watcher's connection, in order, and answers no request."""

    def publish(topic: str, payload: bytes) -> None:
        watch.client.publish(topic, payload).wait_for_publish(10)

    return EdgeNode(Node(group, "n"), publish, lambda: time.time_ns() // 1_000_000)


@pytest.fixture
def die(edge: EdgeNode, watch: Watcher) -> Callable[[], None]:
    """The edge node's death, as a will would say it."""
    return lambda: watch.client.publish(edge.topic(Verb.NDEATH), edge.death(), qos=1).wait_for_publish(10)


@pytest.fixture(scope="session")
def npm_modules() -> Path:
    """node_modules with sparkplug-client."""
    return installed(NODE_SOURCES)


@pytest.fixture
def npm_edge(npm_modules: Path, mosquitto: tuple[str, int], group: str) -> Iterator[Callable[..., NodeProcess]]:
    """Starts the node n of the group with the births given, and waits until it has published them."""
    with contextlib.ExitStack() as stack:

        def start(**births: Any) -> NodeProcess:
            script = NODE_SOURCES / "edge.js"
            one = NodeProcess(npm_modules, script, str(mosquitto[1]), group, "n", json.dumps(births))
            stack.callback(one.close)
            one.until("born")
            return one

        yield start
