"""What gridtape plant says when it cannot run, and that its settings read what the examples name."""

from __future__ import annotations

import socket
import threading
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from connectors import simulated
from connectors.config import Config, check
from streams import cli
from streams.commands import plant
from streams.commands.errors import CommandError
from streams.settings import Settings

ROOT = Path(__file__).parents[4]
BROKER = {"host": "127.0.0.1", "port": 1883, "version": "5"}


def simulator(protocol: str, **where: object) -> Config:
    return check(tomllib.loads(simulated.settings(protocol, **where)), Path("plant.toml"))


def example(protocol: str) -> Config:
    path = ROOT / "connectors" / protocol / "example.toml"
    return check(tomllib.loads(path.read_text()), path)


def test_settings_of_the_plants_when_compared_with_the_examples_read_the_same_addresses():
    (gas,) = simulator("modbus", port=1502).modbus
    shown = {one.point: one for one in example("modbus").modbus[0].registers}
    for register in gas.registers:
        same = shown[register.point]
        assert (register.kind, register.address, register.type, register.scale, register.unit) == (
            same.kind,
            same.address,
            same.type,
            same.scale,
            same.unit,
        )
    (wind,), (farm,) = simulator("opcua", port=4840).opcua, example("opcua").opcua
    assert wind.url == farm.url
    assert {(one.point, one.identifier, one.unit) for one in wind.nodes} == {
        (one.point, one.identifier, one.unit) for one in farm.nodes
    }
    solar, roof = simulator("sparkplug", **BROKER).sparkplug, example("sparkplug").sparkplug
    assert solar is not None
    assert roof is not None
    assert [(one.scope, [point.metric for point in one.points]) for one in solar.devices] == [
        (one.scope, [point.metric for point in one.points]) for one in roof.devices
    ]
    battery, pipes = simulator("mqtt", **BROKER).mqtt, example("mqtt").mqtt
    assert battery is not None
    assert pipes is not None
    assert [device.name for device in battery.devices] == [device.name for device in pipes.devices]
    assert [one.points for one in battery.subscriptions] == [one.points for one in pipes.subscriptions]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["plant", "gas", "--port", "70000"], "Invalid value for '--port'"),
        (["plant", "gas", "--broker", "a:1"], "No such option"),
        (["plant", "wind", "--for", "0"], "Invalid value for '--for'"),
        (["plant", "hydro"], "No such command"),
    ],
)
def test_plant_when_called_wrongly_says_what_is_allowed(given, said):
    done = CliRunner().invoke(cli.app, given)
    assert done.exit_code == 2
    assert said in done.output


def test_plant_when_the_port_is_taken_says_how_to_choose_another(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} of 127.0.0.1 cannot be used .* --port"):
            plant.gas(Settings.load(data_dir=tmp_path), port, threading.Event(), Console(quiet=True))
    assert not list(tmp_path.iterdir()), "settings are written for what runs"


def test_plant_when_the_broker_is_none_says_how_to_choose_another(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def close() -> None:
            one, _ = server.accept()
            with one:
                one.recv(100)

        server.settimeout(10)
        thread = threading.Thread(target=close)
        thread.start()
        with pytest.raises(CommandError, match=r"is it an MQTT broker\? .* --broker"):
            plant.battery(Settings.load(data_dir=tmp_path, mqtt=address), threading.Event(), Console(quiet=True))
        thread.join(10)
    with pytest.raises(CommandError, match=f"cannot connect to the broker {address}: connection refused"):
        plant.solar(Settings.load(data_dir=tmp_path, mqtt=address), threading.Event(), Console(quiet=True))
