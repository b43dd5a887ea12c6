"""What the MQTT tests share: settings, a field device that publishes, and a Kafka that is away until told to come."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from connectors.mqtt.config import MqttConfig


@pytest.fixture
def settings() -> Callable[..., MqttConfig]:
    """Settings for a broker on this machine; keyword arguments replace what stands here."""

    def make(address: tuple[str, int], **changes: Any) -> MqttConfig:
        host, port = address
        paths = {"time": "time", "time_format": "us", "sequence": "sequence", "quality": "quality", "unit": "unit"}
        return MqttConfig.model_validate(
            {
                "host": host,
                "port": port,
                "client_id": f"test-{time.time_ns()}",
                "backoff_ceiling": 0.5,
                "devices": [{"name": "b1", "silence": 3600}],
                "subscriptions": [
                    {
                        "filter": "plants/{device}/{point}",
                        "json": paths,
                        "points": [
                            {"name": "soc", "unit": "%", "range": {"minimum": 0, "maximum": 100}},
                            {"name": "power", "unit": "MW"},
                        ],
                    },
                    {
                        "filter": "plain/{device}/{point}",
                        "payload": "number",
                        "points": [{"name": "flow", "unit": "m3/h"}],
                    },
                ],
                **changes,
            }
        )

    return make


class FieldDevice:
    """Publishes like a device in the field; every call returns once the broker has it."""

    def __init__(
        self, address: tuple[str, int], protocol: int = paho.MQTTv311, will: tuple[str, bytes] | None = None
    ) -> None:
        connected = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(*address)
        self._client.loop_start()
        assert connected.wait(10), "the broker did not answer"

    def raw(self, topic: str, payload: bytes, *, qos: int = 1, **more: Any) -> None:
        self._client.publish(topic, payload, qos=qos, **more).wait_for_publish(10)

    def sample(self, value: object, sequence: int, *, point: str = "soc", **more: Any) -> None:
        """One good sample of battery b1."""
        document = {"value": value, "sequence": sequence, "time": time.time_ns() // 1000, **more}
        self.raw(f"plants/b1/{point}", json.dumps(document).encode())

    def vanish(self) -> None:
        """Lose the connection without a word, and do not come back."""
        self._client.on_disconnect = lambda client, *_: client.disconnect()
        sock = self._client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def device(mosquitto: tuple[str, int]) -> Iterator[FieldDevice]:
    one = FieldDevice(mosquitto)
    yield one
    one.close()


@pytest.fixture
def field_device() -> Iterator[Callable[..., FieldDevice]]:
    """Devices on a broker of the test's own, or of another protocol."""
    with contextlib.ExitStack() as stack:

        def make(address: tuple[str, int], **more: Any) -> FieldDevice:
            one = FieldDevice(address, **more)
            stack.callback(one.close)
            return one

        yield make
