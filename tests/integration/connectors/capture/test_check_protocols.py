"""gridtape connect check on protocols that cannot be played back, and beside a connector that is in use."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from rich.console import Console

from connectors.opcua.simulator import simulate
from streams.commands import connect
from streams.commands.errors import CommandError
from tests.conftest import wait_until

OPCUA = """
[[opcua]]
name = "wind-1"
url = "{url}"
publishing_interval = 0.1
nodes = [
  {{ point = "output", namespace = "urn:gridtape:simulator:wind", identifier = "s=Wind.Output", unit = "MW" }},
  {{ point = "other", namespace = "urn:gridtape:simulator:wind", identifier = "s=Wind.Other", unit = "MW" }},
]
[market]
rate = 20
"""
MQTT = """
[mqtt]
host = "127.0.0.1"
port = {port}
client_id = "in-use"
devices = [{{ name = "battery-1" }}]
[[mqtt.subscriptions]]
filter = "in-use/{{device}}/{{point}}"
payload = "number"
points = [{{ name = "soc", unit = "%" }}]
"""


@pytest.fixture
def page() -> Console:
    return Console(record=True, width=200)


def is_listening(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return file


def test_check_when_opcua_and_prices_are_read_shows_bytes_prices_and_the_unknown_node(tmp_path, page):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"opc.tcp://127.0.0.1:{port}/wind"
    stop = threading.Event()
    farm = threading.Thread(target=simulate, args=(url, stop), kwargs={"seed": 7})
    farm.start()
    try:
        wait_until(lambda: is_listening(port), 60)
        assert not connect.check(settings(tmp_path, OPCUA.format(url=url)), 30, threading.Event(), page)
        with pytest.raises(CommandError, match=r"nothing in it can .*: opcua: its .*; market: there is no wire"):
            connect.capture(tmp_path / "c.toml", tmp_path / "tape", 1, threading.Event(), page)
    finally:
        stop.set()
        farm.join(10)
    lines = page.export_text().splitlines()
    output, other = [line for line in lines if line.startswith(" wind-1")]
    prices = [line for line in lines if line.startswith(" REPLAY")]
    assert "good" in output
    assert " 0b " in output, "a Double's variant begins with its type, 11"
    assert " bad " in other
    assert "wind-1/other is bad: BadNodeIdUnknown" in " ".join(lines)
    assert prices
    assert all("bid" in line and "good" in line for line in prices)


def test_check_when_a_session_is_kept_for_the_connector_leaves_its_messages_there(tmp_path, mosquitto, page):
    """The connector is down for a moment; what waits for it at the broker must not be confirmed by somebody else."""
    host, port = mosquitto
    kept = Properties(PacketTypes.CONNECT)
    kept.SessionExpiryInterval = 600

    def connector(taken: list[bytes]) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="in-use", protocol=paho.MQTTv5)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _client, _data, message: taken.append(message.payload)
        client.connect(host, port, clean_start=False, properties=kept)
        client.loop_start()
        client.subscribe("in-use/#", qos=1)
        assert subscribed.wait(10)
        return client

    def end(client: paho.Client) -> None:
        client.disconnect()
        client.loop_stop()

    end(connector([]))
    device: Any = paho.Client(CallbackAPIVersion.VERSION2, client_id="in-use-device")
    device.connect(host, port)
    device.loop_start()
    device.publish("in-use/battery-1/soc", "41", qos=1, retain=True).wait_for_publish(10)
    end(device)
    try:
        connect.check(settings(tmp_path, MQTT.format(port=port)), 10, threading.Event(), page)
        assert " 41 " in page.export_text(), "a retained value is shown"
        taken: list[bytes] = []
        again = connector(taken)
        wait_until(lambda: b"41" in taken)
        end(again)
    finally:
        device.connect(host, port)
        device.loop_start()
        device.publish("in-use/battery-1/soc", b"", qos=1, retain=True).wait_for_publish(10)
        end(device)
