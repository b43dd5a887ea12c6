"""gridtape connect check on protocols that cannot be played back, and beside a connector that is in use."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from rich.console import Console

from streams.commands import connect, plant
from streams.commands.errors import CommandError
from streams.local.service import free_port
from streams.settings import Settings
from tests.conftest import wait_until

OTHER = """
publishing_interval = 0.1
nodes = [
  { point = "other", namespace = "urn:gridtape:simulator:wind", identifier = "s=Wind.Other", unit = "MW" },
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


def settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return file


def test_check_when_the_wind_plant_and_prices_are_read_shows_bytes_prices_and_the_unknown_node(tmp_path, page):
    stop, written = threading.Event(), tmp_path / "plants" / "wind.toml"
    given = (Settings.load(data_dir=tmp_path), free_port(), stop, Console(quiet=True))
    farm = threading.Thread(target=plant.wind, args=given)
    farm.start()
    try:
        wait_until(lambda: written.exists() and written.read_text().endswith("]\n"), 60)
        text = written.read_text().replace("nodes = [\n", OTHER) + "[market]\nrate = 20\n"
        assert not connect.check(settings(tmp_path, text), 30, threading.Event(), page)
        with pytest.raises(CommandError, match=r"nothing in it can be recorded .*: market: there is no wire"):
            connect.capture(settings(tmp_path, "[market]\n"), tmp_path / "tape", 1, threading.Event(), page)
    finally:
        stop.set()
        farm.join(10)
    lines = page.export_text().splitlines()
    other, output, *more = [line for line in lines if line.startswith(" wind-1")]
    prices = [line for line in lines if line.startswith(" REPLAY")]
    assert "good" in output
    assert " 0b " in output, "a Double's variant begins with its type, 11"
    assert " bad " in other
    assert len(more) == 3
    assert all("good" in line for line in more)
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
        connect.check(settings(tmp_path, MQTT.format(port=port)), 4, threading.Event(), page)
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
