"""An inverter behind an edge node, for trying things out, and the node's parts for tests and measurements. Not real.

:class:`EdgeNode` can also do what a good one never would: skip a number, or lie. ``simulator.toml`` are settings that
read what :func:`simulate` publishes.
"""

from __future__ import annotations

import contextlib
import math
import random
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from connectors import clock
from connectors.sparkplug import wire
from connectors.sparkplug.address import NAMESPACE, Node, Verb
from connectors.sparkplug.payload import BDSEQ, REBIRTH, DataType

CAPACITY = 500.0
"""kW."""
_EDGE = Node("plant", "edge-1")
_INVERTER = "inverter-1"
_GOODBYE_SECONDS = 1.0
Metric = dict[str, Any]
"""Fields of a metric as in :mod:`connectors.sparkplug.wire`."""


def encode(seq: int | None, metrics: Iterable[Metric], timestamp: int | None) -> bytes:
    """A payload. ``timestamp``: milliseconds."""
    message = wire.Payload(timestamp=timestamp, seq=seq)
    for metric in metrics:
        message.metrics.add(**metric)
    raw: bytes = message.SerializeToString()
    return raw


def double(name: str | None, value: float | None, *, timestamp: int | None = None, **more: Any) -> Metric:
    """A Double; ``value`` None is null."""
    found = {"name": name, "datatype": int(DataType.Double), "timestamp": timestamp, "double_value": value, **more}
    found["is_null"] = True if value is None else None
    return {key: item for key, item in found.items() if item is not None}


def properties(**texts: str | int) -> Any:
    """A property set of texts and integers, for a metric's ``properties``."""
    found = wire.Payload().metrics.add().properties
    for key, item in texts.items():
        found.keys.append(key)
        if isinstance(item, str):
            found.values.add(type=DataType.String, string_value=item)
        else:
            found.values.add(type=DataType.Int32, int_value=item)
    return found


class EdgeNode:
    """Numbers its messages as the specification wants; ``seq`` and ``bdseq`` may be changed from outside.

    ``publish`` gets topic and payload; ``clock``: milliseconds.
    """

    def __init__(self, node: Node, publish: Callable[[str, bytes], None], clock: Callable[[], int]) -> None:
        self.node = node
        self.seq = 0
        self.bdseq = 0
        self._publish = publish
        self._clock = clock

    def topic(self, verb: Verb, device: str = "") -> str:
        """Where the node says something of itself or a device."""
        return f"{NAMESPACE}/{self.node.group}/{verb}/{self.node.node}" + (f"/{device}" if device else "")

    def birth(self, *metrics: Metric) -> None:
        """NBIRTH, with what every node must have."""
        self.seq = 0
        own = [self._bdseq(), {"name": REBIRTH, "datatype": int(DataType.Boolean), "boolean_value": False}]
        self.say(Verb.NBIRTH, "", [*own, *metrics])

    def death(self) -> bytes:
        """The payload of an NDEATH, for a will."""
        return encode(None, [self._bdseq()], self._clock())

    def say(self, verb: Verb, device: str = "", metrics: Iterable[Metric] = ()) -> None:
        """Any message but an NDEATH, with the next number."""
        self._publish(self.topic(verb, device), encode(self.seq, metrics, self._clock()))
        self.seq = (self.seq + 1) % 256

    def _bdseq(self) -> Metric:
        return {"name": BDSEQ, "datatype": int(DataType.UInt64), "long_value": self.bdseq}


@dataclass(frozen=True)
class Roof:
    """What the inverter does: a pure function of the seed and of the seconds since its start."""

    seed: int

    def values(self, elapsed: float) -> tuple[float, float, float, tuple[float, float, float]]:
        """Supply voltage V, power kW, temperature Cel, and the current of each phase in A."""
        noise = random.Random(f"{self.seed}/{elapsed:.3f}")  # noqa: S311 - values, not secrets
        clouds = 0.75 + 0.2 * math.sin(elapsed / 53 + self.seed) + noise.uniform(-0.01, 0.01)
        power = CAPACITY * clouds
        current = power * 1000 / (math.sqrt(3) * 400)
        l1, l2, l3 = (current * noise.uniform(0.99, 1.01) for _ in range(3))
        return 24 + noise.uniform(-0.1, 0.1), power, 35 + 20 * clouds, (l1, l2, l3)


def simulate(host: str, port: int, stop: threading.Event, *, seed: int, interval: float = 0.5) -> None:
    """Publish edge node ``plant/edge-1`` and its device ``inverter-1`` until ``stop``, with MQTT 3.1.1.

    Both are born when the broker is reached and when a host asks for it; their values come every ``interval`` seconds.
    While the broker is away the client tries again.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"simulator-{_EDGE.node}", protocol=paho.MQTTv311)
    birth = threading.Event()

    def publish(topic: str, payload: bytes) -> None:
        client.publish(topic, payload)

    edge = EdgeNode(_EDGE, publish, lambda: clock.now() // 1000)

    def connected(*_: object) -> None:
        client.subscribe(_EDGE.commands, qos=1)
        birth.set()

    def lost(*_: object) -> None:
        edge.bdseq = (edge.bdseq + 1) % 256  # of the next connection
        client.will_set(edge.topic(Verb.NDEATH), edge.death(), qos=1)

    client.will_set(edge.topic(Verb.NDEATH), edge.death(), qos=1)
    client.on_connect = connected
    client.on_disconnect = lost
    client.on_message = lambda *_: birth.set()  # it knows no other command
    client.reconnect_delay_set(min_delay=1, max_delay=5)
    client.connect_async(host, port, keepalive=15)
    client.loop_start()
    start = due = time.monotonic()
    try:
        while not stop.is_set():
            if client.is_connected():
                own, inverter = _metrics(Roof(seed), due - start, clock.now() // 1000)
                if birth.is_set():
                    birth.clear()
                    edge.birth(*own)
                    edge.say(Verb.DBIRTH, _INVERTER, inverter)
                else:
                    edge.say(Verb.NDATA, "", own)
                    edge.say(Verb.DDATA, _INVERTER, inverter)
            due += interval
            stop.wait(max(0.0, due - time.monotonic()))
        if client.is_connected():
            with contextlib.suppress(RuntimeError):  # the broker left first
                client.publish(edge.topic(Verb.NDEATH), edge.death(), qos=1).wait_for_publish(_GOODBYE_SECONDS)
    finally:
        client.disconnect()
        client.loop_stop()


def _metrics(roof: Roof, elapsed: float, at: int) -> tuple[list[Metric], list[Metric]]:
    """The node's own, and those of the inverter. ``at``: milliseconds."""
    volts, power, temperature, currents = roof.values(elapsed)
    phases = struct.pack("<3f", *currents)
    return [double("Supply Voltage", volts, timestamp=at)], [
        double("Power/AC", power, timestamp=at, properties=properties(engUnit="kW")),
        double("Temperature", temperature, timestamp=at, properties=properties(engUnit="°C")),
        {"name": "Phase Currents", "datatype": int(DataType.FloatArray), "timestamp": at, "bytes_value": phases},
    ]
