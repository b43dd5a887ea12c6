"""MQTT, Modbus and OPC UA: nothing that their devices say may be missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors import clock
from connectors.opcua.config import OpcUaServer
from schemas.base import Quality
from schemas.telemetry import Telemetry
from streams.local.mqtt import Mosquitto
from streams.local.service import free_port
from tests.performance.connectors import modbus, mqtt, opcua
from tests.performance.connectors.away.counting import FRESH, Found
from tests.performance.connectors.figures import Figure, beside, listens

_PLACES = mqtt.DEVICES * len(mqtt.POINTS)  # each publishes once a second
_DEVICES = 4  # Modbus, 50 registers each second
_ITEMS = 50  # OPC UA, each second
_FIRST = "dmb"  # letters of their devices' names: d0, m0, bench


class Plant:
    """``rounds``: so many messages of each MQTT point.

    A number that is there twice was sent again under the same id.
    """

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._broker = 0
        self._modbus, self._opcua = free_port(), free_port()
        self._numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._newest: dict[tuple[str, str], int] = {}
        self._values: list[Telemetry] = []
        self._doubtful = 0

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """The broker with a session that is kept, and the devices."""
        with (
            Mosquitto(folder / "mqtt") as field,
            beside(modbus.serve, self._modbus),
            beside(opcua.serve, self._opcua, _ITEMS),
        ):
            self._broker = field.port
            listens(modbus.HOSTS[-1], self._modbus)
            listens("127.0.0.1", self._opcua)
            mqtt._session(field.port, "bench").disconnect()
            with beside(mqtt.fill, field.port, self._rounds * _PLACES, _PLACES):
                yield

    def settings(self) -> dict[str, Any]:
        """One broker, some devices, one server."""
        devices = modbus.settings(self._modbus, _DEVICES)
        return {"mqtt": mqtt.settings(self._broker), "modbus": devices, "opcua": [_server(self._opcua)]}

    def take(self, record: Found) -> None:
        """A value of one of them."""
        if not isinstance(record, Telemetry) or record.device[0] not in _FIRST:
            return
        place = record.device, record.point
        self._numbers[place].add(record.sequence)
        self._newest[place] = max(self._newest.get(place, 0), record.event_time)
        self._doubtful += record.quality is not Quality.GOOD
        if record.device == "bench":
            self._values.append(record)

    def complete(self) -> bool:
        """Every message is there, and everything else is fresh."""
        fresh = clock.now() - FRESH
        there = len(self._newest) == _PLACES + _DEVICES * modbus.REGISTERS + _ITEMS
        return there and all(
            len(self._numbers[place]) >= self._rounds if place[0][0] == "d" else newest > fresh
            for place, newest in self._newest.items()
        )

    def figures(self) -> list[Figure]:
        """Messages that the broker had accepted, numbers that the connector gave to samples, values counted up to."""
        messages = (self._rounds - len(numbers) for (one, _), numbers in self._numbers.items() if one[0] == "d")
        samples = (max(numbers) - len(numbers) for (one, _), numbers in self._numbers.items() if one[0] == "m")
        return [
            Figure(what="MQTT messages missing", value=sum(messages), unit="", most=0),
            Figure(what="Modbus samples missing", value=sum(samples), unit="", most=0),
            Figure(what="OPC UA values missing", value=opcua._missing(self._values), unit="", most=0),
            Figure(what="of these three, values that are not good", value=self._doubtful, unit="", most=0),
        ]


def _server(port: int) -> OpcUaServer:
    nodes = [
        {"point": f"p{n}", "namespace": opcua.URI, "identifier": f"i={n}", "unit": "1", "sampling_interval": 0.5}
        for n in range(1, _ITEMS + 1)
    ]
    return OpcUaServer.model_validate({"name": "bench", "url": f"opc.tcp://127.0.0.1:{port}", "nodes": nodes})
