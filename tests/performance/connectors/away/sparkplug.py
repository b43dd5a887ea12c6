"""Sparkplug: an edge node that counts, behind a real Mosquitto."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from connectors.sparkplug.address import Node, Verb
from connectors.sparkplug.simulator import EdgeNode, Metric, double
from schemas.base import Quality
from schemas.gaps import Gap
from schemas.telemetry import Telemetry
from streams.local.mqtt import Mosquitto
from tests.performance.connectors.away.counting import Counted, Found, Timetable, said, timetable
from tests.performance.connectors.figures import Figure, beside

_METRICS = 5  # each ten times a second
_NODE = Node("away", "edge")
_DEVICE = "inverter"


class Sparkplug:
    """Nodes publish with QoS 0: what the host does not read is gone, and must lie in a gap."""

    def __init__(self) -> None:
        self._table = timetable(50_000)
        self._counted = Counted(self._table, [f"m{n}" for n in range(_METRICS)], group=_DEVICE)
        self._port = 0

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """The broker and the edge node."""
        with Mosquitto(folder / "sparkplug") as broker:
            self._port = broker.port
            with beside(_speak, broker.port, self._table):
                yield

    def settings(self) -> dict[str, Any]:
        """A host with the bounds that it has by itself."""
        points = [{"metric": f"m{n}", "unit": "kW"} for n in range(_METRICS)]
        device = {"name": _DEVICE, "group": _NODE.group, "node": _NODE.node, "device": "d", "points": points}
        return {"sparkplug": {"host": "127.0.0.1", "port": self._port, "host_id": "away", "devices": [device]}}

    def take(self, record: Found) -> None:
        """Records without a value say that what was known is stale."""
        if isinstance(record, Gap):
            self._counted.gap(record)
        elif isinstance(record, Telemetry) and record.device == _DEVICE and record.quality is Quality.GOOD:
            self._counted.take(record.point, record.value or 0.0, record)

    def complete(self) -> bool:
        """It is born anew, and its values are those of now."""
        return self._counted.complete()

    def figures(self) -> list[Figure]:
        """Of its values."""
        return self._counted.figures("Sparkplug values")


def _speak(port: int, table: Timetable) -> None:
    """The edge node: born at the beginning and whenever it is asked, and a message for each number."""
    asked = threading.Event()
    asked.set()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="edge", protocol=paho.MQTTv311)
    client.on_connect = lambda *_: client.subscribe(_NODE.commands, qos=1)
    client.on_message = lambda *_: asked.set()
    client.connect("127.0.0.1", port)
    client.loop_start()

    def publish(topic: str, payload: bytes) -> None:
        client.publish(topic, payload)

    node = EdgeNode(_NODE, publish, lambda: table.due(number) // 1000)

    def metrics(number: int, *, born: bool) -> Iterator[Metric]:
        for place in range(_METRICS):
            value = float(said(number, place))
            yield double(f"m{place}", value, alias=place) if born else double(None, value, alias=place, datatype=None)

    for number in table.numbers():
        if asked.is_set():
            asked.clear()
            node.birth()
            node.say(Verb.DBIRTH, "d", metrics(number, born=True))
        else:
            node.say(Verb.DDATA, "d", metrics(number, born=False))
