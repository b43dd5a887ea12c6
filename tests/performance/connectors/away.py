"""MQTT, Modbus and OPC UA in one process while Kafka is away for a long time: afterwards nothing may be missing."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors import clock
from connectors.config import Config
from connectors.opcua.config import OpcUaServer
from connectors.runner import run_connectors
from schemas import topics
from schemas.base import Quality
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster
from streams.local.kafka import Kafka
from streams.local.mqtt import Mosquitto
from streams.local.service import free_port
from tests.performance.connectors import modbus, mqtt, opcua
from tests.performance.connectors.figures import Figure, beside, listens

_PLACES = mqtt.DEVICES * len(mqtt.POINTS)  # each publishes once a second
_DEVICES = 4  # Modbus, 50 registers each second
_ITEMS = 50  # OPC UA, each second
_BEFORE = 20.0
_FRESH = 5_000_000
_DRAINED_SECONDS = 900.0


def measure(broker: Kafka, cluster: Cluster, seconds: float) -> list[Figure]:
    """What is missing after Kafka was away for ``seconds``, what had waited, and how soon it was there."""
    port, server = free_port(), free_port()
    rounds = round(seconds + 2 * _BEFORE)
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(Path(folder)) as field,
        beside(modbus.serve, port),
        beside(opcua.serve, server, _ITEMS),
    ):
        listens(modbus.HOSTS[-1], port)
        listens("127.0.0.1", server)
        mqtt._session(field.port, "bench").disconnect()
        config = Config(mqtt=mqtt.settings(field.port), modbus=modbus.settings(port, _DEVICES), opcua=[_server(server)])
        thread = threading.Thread(target=run_connectors, args=(config, cluster, stop, Path(folder, "waiting")))
        thread.start()
        try:
            with beside(mqtt.fill, field.port, rounds * _PLACES, _PLACES):
                time.sleep(_BEFORE)
                broker.stop()
                left = clock.now()
                time.sleep(seconds)
                broker.start()
                back = clock.now()
                found = _Found(cluster, rounds)
                found.read()
        finally:
            stop.set()
            thread.join(30)
    waited = sum(left < one < back for one in found.times)
    return [
        Figure(what=f"records of the {(back - left) / 1e6:.0f} s without Kafka", value=waited, unit=""),
        Figure(what="all there after", value=found.seconds, unit="s"),
        Figure(what="MQTT messages missing", value=found.missing_messages(), unit="", most=0),
        Figure(what="Modbus samples missing", value=found.missing_samples(), unit="", most=0),
        Figure(what="OPC UA values missing", value=found.missing_values(), unit="", most=0),
        Figure(what="values that are not good", value=found.doubtful, unit="", most=0),
    ]


def _server(port: int) -> OpcUaServer:
    nodes = [
        {"point": f"p{n}", "namespace": opcua.URI, "identifier": f"i={n}", "unit": "1", "sampling_interval": 0.5}
        for n in range(1, _ITEMS + 1)
    ]
    return OpcUaServer.model_validate({"name": "bench", "url": f"opc.tcp://127.0.0.1:{port}", "nodes": nodes})


class _Found:
    """All telemetry in Kafka. A number that is there twice was sent again under the same id."""

    def __init__(self, cluster: Cluster, rounds: int) -> None:
        self._cluster = cluster
        self._rounds = rounds
        self._numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._newest: dict[tuple[str, str], int] = {}
        self._values: list[Telemetry] = []
        self.times: list[int] = []
        self.doubtful = 0
        self.seconds = 0.0

    def read(self) -> None:
        """Until every message is there, and everything else is fresh. Raises TimeoutError."""
        began = time.monotonic()
        reader = self._cluster.reader("bench-away")
        name = self._cluster.named(topics.telemetry.name)
        partitions = reader.list_topics(name, timeout=60).topics[name].partitions
        reader.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in partitions])
        try:
            while not self._complete():
                if time.monotonic() - began > _DRAINED_SECONDS:
                    raise TimeoutError(f"not all was there within {_DRAINED_SECONDS:.0f} s: {len(self.times)} records")
                for message in reader.consume(10_000, 0.5):
                    self._take(topics.telemetry.decode(message.value() or b""))
        finally:
            reader.close()
        self.seconds = time.monotonic() - began

    def missing_messages(self) -> int:
        """Of those that the MQTT broker had accepted."""
        return sum(self._rounds - len(numbers) for (device, _), numbers in self._numbers.items() if device[0] == "d")

    def missing_samples(self) -> int:
        """Numbers that the connector gave to polled samples and that are not there."""
        polled = [numbers for (device, _), numbers in self._numbers.items() if device[0] == "m"]
        return sum(max(numbers) - len(numbers) for numbers in polled)

    def missing_values(self) -> int:
        """Of those that the OPC UA server counted up to."""
        return opcua._missing(self._values)

    def _take(self, one: Telemetry) -> None:
        place = one.device, one.point
        self._numbers[place].add(one.sequence)
        self._newest[place] = max(self._newest.get(place, 0), one.event_time)
        self.times.append(one.event_time)
        self.doubtful += one.quality is not Quality.GOOD
        if one.device == "bench":
            self._values.append(one)

    def _complete(self) -> bool:
        fresh = clock.now() - _FRESH
        there = len(self._newest) == _PLACES + _DEVICES * modbus.REGISTERS + _ITEMS
        return there and all(
            len(self._numbers[place]) >= self._rounds if place[0][0] == "d" else newest > fresh
            for place, newest in self._newest.items()
        )
