"""Sparkplug: births and data of one edge node, each value in Kafka; and the messages read by bare paho."""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import REGISTRY

from connectors.sparkplug.address import Node, Verb
from connectors.sparkplug.config import SparkplugConfig
from connectors.sparkplug.connector import SparkplugConnector
from connectors.sparkplug.simulator import EdgeNode, double
from schemas import topics
from streams.engine.cluster import Cluster
from streams.local.mqtt import Mosquitto
from tests.performance.connectors.figures import Cost, Figure, apart, beside, compared, counted, through, until

METRICS = 50
NODE = Node("bench", "edge")
_AHEAD = 200
"""Messages that the node may be ahead of the broker."""


def measure(cluster: Cluster, *, smoke: bool) -> list[Figure]:
    """Values a second, with all of them in Kafka and without Kafka."""
    messages = 20 if smoke else 6_000
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        with beside(speak, broker.port, messages, "connector"):
            taken = apart(read, cluster, broker.port, messages)
        with beside(speak, broker.port, messages, "bare"):
            bare = apart(read_bare, broker.port, messages)
    return compared(f"values in Kafka, {METRICS} to a message", "value", taken=taken, least=5_000, bare=bare)


def settings(port: int) -> SparkplugConfig:
    """A host that reads all metrics of the one device. Nothing is missing, so nothing is waited for."""
    points = [{"metric": f"m{n}", "unit": "kW"} for n in range(METRICS)]
    device = {"name": "d", "group": NODE.group, "node": NODE.node, "device": "d", "points": points}
    broker = {"host": "127.0.0.1", "port": port, "client_id": f"host-{uuid.uuid4().hex[:6]}", "host_id": "bench"}
    return SparkplugConfig.model_validate({**broker, "reorder_timeout": 60, "devices": [device]})


def speak(port: int, messages: int, reader: str) -> None:
    """The edge node: births, then ``messages`` of data once ``reader`` is there.

    With QoS 1, so that no reader is too slow for it.
    """
    ready = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.max_inflight_messages_set(_AHEAD)
    client.on_connect = lambda *_: client.subscribe(f"ready/{reader}", qos=1)
    client.on_message = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not ready.wait(60):
        raise TimeoutError(f"{reader} was not there within 60 s")
    sent: list[paho.MQTTMessageInfo] = []

    def publish(topic: str, payload: bytes) -> None:
        sent.append(client.publish(topic, payload, qos=1))
        if len(sent) % _AHEAD == 0:
            sent[-1].wait_for_publish(60)

    node = EdgeNode(NODE, publish, lambda: time.time_ns() // 1_000_000)
    node.birth()
    node.say(Verb.DBIRTH, "d", [double(f"m{n}", 0.0, alias=n) for n in range(METRICS)])
    for number in range(messages):
        at = time.time_ns() // 1_000_000
        data = (double(None, number + n / 7, alias=n, datatype=None, timestamp=at) for n in range(METRICS))
        node.say(Verb.DDATA, "d", data)
    sent[-1].wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def read(cluster: Cluster, port: int, messages: int) -> Cost:
    """Values that are in Kafka."""
    live = {"connector": "sparkplug", "device": "", "state": "live"}

    def once_it_runs() -> None:
        until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", live) or 0.0, 1)
        _announce(port, "connector")

    make = partial(SparkplugConnector, settings(port))
    values = (messages + 1) * METRICS
    return through(cluster, make, "sparkplug", topics.telemetry, values, once_it_runs=once_it_runs)


def read_bare(port: int, messages: int) -> Cost:
    """Values with paho alone, which does not look into the messages."""
    arrived = [0]

    def took(*_: Any) -> None:
        arrived[0] += METRICS

    subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.on_connect = lambda *_: client.subscribe(NODE.filter, qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = took

    def begin() -> None:
        client.connect("127.0.0.1", port)
        client.loop_start()
        if not subscribed.wait(10):
            raise TimeoutError("the broker did not confirm the subscription within 10 s")
        _announce(port, "bare")

    cost = counted(begin, lambda: float(arrived[0]), (messages + 2) * METRICS)
    client.disconnect()
    client.loop_stop()
    return cost


def _announce(port: int, reader: str) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish(f"ready/{reader}", b"1", qos=1, retain=True).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
