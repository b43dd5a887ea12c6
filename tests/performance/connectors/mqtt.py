"""MQTT: a broker's full session read as fast as it goes, each message confirmed once Kafka has it; and by bare paho."""

from __future__ import annotations

import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors import clock
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.connector import MqttConnector
from schemas import topics
from schemas.cloudevents import timestamp
from streams.engine.cluster import Cluster
from streams.local.mqtt import Mosquitto
from tests.performance.connectors.figures import Cost, Figure, apart, compared, counted, through

DEVICES = 20
POINTS = ("soc", "power", "temperature", "voltage")
FILTER = "bench/{device}/{point}"


def measure(cluster: Cluster, *, smoke: bool) -> list[Figure]:
    """Messages a second, with confirmation after Kafka and without Kafka."""
    count = 500 if smoke else 150_000
    with tempfile.TemporaryDirectory() as folder, Mosquitto(Path(folder)) as broker:
        for client in ("bench", "bare"):
            _session(broker.port, client).disconnect()
        apart(fill, broker.port, count)
        taken = apart(read, cluster, broker.port, count)
        bare = apart(read_bare, broker.port, count)
    return compared("messages confirmed after Kafka", "message", taken=taken, least=15_000, bare=bare)


def settings(port: int, client: str = "bench") -> MqttConfig:
    """A broker at ``port`` with all devices and points, as JSON with time and sequence."""
    subscription = {
        "filter": FILTER,
        "json": {"time": "time", "sequence": "sequence", "quality": "quality", "unit": "unit"},
        "points": [{"name": point, "unit": "1"} for point in POINTS],
    }
    devices = [{"name": f"d{n}", "silence": 3600} for n in range(DEVICES)]
    broker = {"host": "127.0.0.1", "port": port, "client_id": client}
    return MqttConfig.model_validate({**broker, "devices": devices, "subscriptions": [subscription]})


def fill(port: int, count: int, rate: float = 0.0) -> None:
    """Publish ``count`` messages with QoS 1 (0: for ever); ``rate``: a second, 0: as fast as it goes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="field")
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", port)
    client.loop_start()
    began, sequence, places = time.monotonic(), 0, [(n, point) for n in range(DEVICES) for point in POINTS]
    last: Any = None
    while not count or sequence * len(places) < count:
        sequence += 1
        at = timestamp(clock.now())
        for device, point in places:
            payload = f'{{"value":{sequence % 97}.25,"unit":"1","quality":"good","sequence":{sequence},"time":"{at}"}}'
            last = client.publish(f"bench/d{device}/{point}", payload, qos=1)
        ahead = began + sequence * len(places) / rate - time.monotonic() if rate else 0.0
        if ahead > 0:
            time.sleep(ahead)
        elif sequence % 50 == 0:
            last.wait_for_publish(60)
    last.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def read(cluster: Cluster, port: int, count: int) -> Cost:
    """Messages that are in Kafka and confirmed."""
    return through(cluster, partial(MqttConnector, settings(port)), "mqtt", topics.telemetry, count)


def read_bare(port: int, count: int) -> Cost:
    """With paho alone, which confirms before its caller has it."""
    arrived = [0]

    def took(*_: object) -> None:
        arrived[0] += 1

    client = _session(port, "bare", took)
    cost = counted(client.loop_start, lambda: float(arrived[0]), count)
    client.disconnect()
    client.loop_stop()
    return cost


def _session(port: int, client_id: str, took: Any = None) -> paho.Client:
    """Connected to a session that is kept, and subscribed."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
    client.on_message = took
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    properties.ReceiveMaximum = 500
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
    if took is None:
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.loop_start()
        client.subscribe("bench/+/+", qos=1)
        if not subscribed.wait(10):
            raise TimeoutError("the broker did not confirm the subscription within 10 s")
        client.loop_stop()
    return client
