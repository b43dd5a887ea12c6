"""gridtape connect on real devices: a Modbus server and an MQTT broker."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from connectors.capture.addresses import redirected
from connectors.capture.frames import Direction, read
from connectors.capture.player import Player
from connectors.capture.rehearsal import Notebook, apart, rehearse
from connectors.config import load
from connectors.modbus.simulator import simulate
from schemas.telemetry import Telemetry
from streams.commands import connect
from streams.commands.errors import CommandError
from tests.conftest import wait_until

MODBUS = """
[[modbus]]
name = "gas-1"
host = "127.0.0.1"
port = {port}
poll_interval = 0.05
timeout = 2
retries = 0
registers = [
  {{ point = "output", kind = "input", address = 0, type = "float32", unit = "MW", source_unit = "kW" }},
  {{ point = "running", kind = "coil", address = 0, type = "bool", unit = "1" }},{more}
]
"""
MQTT = """
[mqtt]
host = "127.0.0.1"
port = {port}
client_id = "rehearsal"
devices = [{{ name = "battery-1" }}]
[[mqtt.subscriptions]]
filter = "rehearsal/{{device}}/{{point}}"
payload = "number"
points = [{{ name = "soc", unit = "%" }}]
"""
UNWRITABLE = """
[[fix]]
name = "futures"
host = "127.0.0.1"
port = 1
sender = "HOUSE"
target = "VENUE"
store = "no-folder/numbers.db"
venue = "EXAMPLE"
instruments = [{ instrument = "HENRY-HUB" }]
"""


class Diary(Notebook):
    """A notebook that forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Telemetry] = []

    def publish(self, topic, key, record, **more):
        if isinstance(record, Telemetry):
            self.history.append(record)
        super().publish(topic, key, record, **more)


def played(file: Path, tape: Path) -> Diary:
    """All that comes of a recording, which must be played to its end."""
    player, found = Player(read(tape)[1]), Diary()
    config, _ = apart(load(file))
    assert not rehearse(redirected(config, player.place), found, lambda: player.finished, 40, threading.Event())
    player.close()
    assert player.finished
    assert not player.differences
    return found


def on_page(console: Console) -> str:
    return console.export_text()


@pytest.fixture
def page() -> Console:
    return Console(record=True, width=200)


@pytest.fixture
def plant() -> Iterator[int]:
    """Port of the simulated gas plant."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    stop = threading.Event()
    thread = threading.Thread(target=simulate, args=("127.0.0.1", port, stop), kwargs={"seed": 1})
    thread.start()

    def listens() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens)
    yield port
    stop.set()
    thread.join()


def settings(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "c.toml"
    file.write_text(text)
    return file


def test_check_when_all_is_well_shows_each_point_with_its_bytes(tmp_path, plant, page):
    file = settings(tmp_path, MODBUS.format(port=plant, more=""))
    assert connect.check(file, 10, threading.Event(), page)
    output, running = [line.strip() for line in on_page(page).splitlines() if line.startswith(" gas-1")]
    assert "MW" in output
    assert "good" in output
    assert output.split()[-4] == "43", "the first byte of a float32 of some hundreds"
    assert running.split()[:5] == ["gas-1", "running", "1", "1", "good"]


def test_check_when_a_point_is_refused_or_a_device_is_off_says_so_and_fails(tmp_path, plant, page):
    more = '{ point = "wrong", kind = "holding", address = 900, type = "int16", unit = "Mw" },'
    text = MODBUS.format(port=plant, more=more) + MODBUS.format(port=1, more="").replace("gas-1", "off-1") + UNWRITABLE
    (tmp_path / "no-folder").touch()
    assert not connect.check(settings(tmp_path, text), 2, threading.Event(), page)
    said = on_page(page)
    assert "gas-1/wrong is bad: the device refused holding 900: illegal address (exception code 2)" in said
    assert "gas-1/wrong has the unit 'Mw', which is no UCUM code" in said
    assert said.count("UCUM") == 1
    assert said.count(" missing ") == 3
    assert "off-1/output did not come\n" in said
    assert "off-1 is down: cannot connect to 127.0.0.1:1: connection refused; is it on, is the port right?" in said
    assert f"futures is down: the session store {tmp_path / 'no-folder' / 'numbers.db'} cannot be used" in said


def test_recording_when_played_back_gives_the_same_values_without_the_device(tmp_path, plant, page):
    file, tape = settings(tmp_path, MODBUS.format(port=plant, more="")), tmp_path / "tape.jsonl"
    assert connect.capture(file, tape, 1.0, threading.Event(), page)
    header, frames = read(tape)
    assert header.settings == file.read_text()
    polls = sum(frame.direction is Direction.RECEIVED for frame in frames)
    assert polls >= 4
    runs = [[(s.point, s.value, s.unit) for s in played(file, tape).history if s.value is not None] for _ in "ab"]
    assert len(runs[0]) >= polls - 1
    assert runs[0] == runs[1]
    assert connect.replay(tape, threading.Event(), page)


def test_replay_when_the_connector_asks_otherwise_shows_both(tmp_path, plant, page):
    file, tape = settings(tmp_path, MODBUS.format(port=plant, more="")), tmp_path / "tape.jsonl"
    assert connect.capture(file, tape, 0.6, threading.Event(), page)
    tape.write_text(tape.read_text().replace("address = 0, type", "address = 2, type"))
    assert not connect.replay(tape, threading.Event(), page)
    assert "was recorded" in on_page(page) or "recorded 00" in on_page(page)
    tape.write_text("no recording\n")
    with pytest.raises(CommandError, match=r"tape.jsonl:1: this is no recording"):
        connect.replay(tape, threading.Event(), page)


def test_mqtt_when_recorded_plays_back_what_the_broker_had_sent(tmp_path, mqtt_broker, page):
    host, port = mqtt_broker
    file, tape = settings(tmp_path, MQTT.format(port=port)), tmp_path / "tape.jsonl"
    device = paho.Client(CallbackAPIVersion.VERSION2, client_id="rehearsal-device")
    device.connect(host, port)
    device.loop_start()
    stop = threading.Event()
    sent: list[int] = []

    def send() -> None:
        while not stop.wait(0.1):
            sent.append(len(sent) + 1)
            device.publish("rehearsal/battery-1/soc", str(len(sent)), qos=1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert connect.capture(file, tape, 2.0, threading.Event(), page)
    finally:
        stop.set()
        sender.join()
        device.disconnect()
        device.loop_stop()
    found = played(file, tape)
    values = [sample.value for sample in found.history]
    assert len(values) >= 3
    assert values == list(range(int(values[0]), int(values[0]) + len(values)))
    assert found.raw["battery-1", "soc"] == str(int(values[-1])).encode()
