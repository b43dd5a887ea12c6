"""gridtape connect discover on a real broker: what it writes is what connect check finds nothing wrong with."""

from __future__ import annotations

import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from connectors.config import ConfigError, load
from connectors.mqtt.simulator import simulate
from streams.commands import connect
from streams.commands.discover import How, discover
from streams.commands.errors import CommandError
from streams.local.service import free_port

FILTERS = ("plants/found-battery/#", "pipelines/found-pipe/#", "found/#")


@pytest.fixture
def page() -> Console:
    return Console(record=True, width=80)


def test_discover_when_a_plant_publishes_writes_settings_that_check_finds_good(mosquitto, tmp_path, page):
    host, port = mosquitto
    stop, out, never = threading.Event(), tmp_path / "plant.toml", threading.Event()
    named = {"battery": "found-battery", "pipeline": "found-pipe", "interval": 0.1}
    plant = threading.Thread(target=simulate, args=(host, port, stop), kwargs=named)
    other = paho.Client(CallbackAPIVersion.VERSION2)
    other.connect(host, port)
    other.loop_start()
    plant.start()
    try:
        other.publish("found/unread", b"\xff\x00", qos=1, retain=True).wait_for_publish(10)
        assert discover(f"mqtt://{host}:{port}", How(1.5, FILTERS), out, never, page, force=False)
        assert connect.check(out, 10, never, Console(quiet=True))
    finally:
        stop.set()
        plant.join(10)
        for kept in ("found/unread", "plants/found-battery/status", "pipelines/found-pipe/status"):
            other.publish(kept, b"", qos=1, retain=True).wait_for_publish(10)  # the next test reads plants/#
        other.disconnect()
        other.loop_stop()
    mqtt = load(out).mqtt
    assert mqtt is not None
    assert {one.filter for one in mqtt.subscriptions} == {
        f"{top}/{{point}}" for top in ("plants/found-battery", "pipelines/found-pipe")
    }
    units = {point.name: point.unit for one in mqtt.subscriptions for point in one.points}
    assert units == {"soc": "%", "power": "MW", "temperature": "Cel", "pressure": "1", "flow": "1"}
    assert [(one.filter, one.online, one.offline) for one in mqtt.status] == [
        ("plants/found-battery/status", ("online",), ("offline",))
    ]
    assert "not read: unknown" in " ".join(page.export_text().split())
    with pytest.raises(CommandError, match="exists already; --force overwrites it"):
        discover(f"mqtt://{host}:{port}", How(1.0, FILTERS), out, never, page, force=False)


def test_discover_when_nothing_is_published_says_so_and_writes_nothing(mosquitto, tmp_path, page):
    host, port = mosquitto
    out = tmp_path / "plant.toml"
    how = How(0.5, ("nobody/publishes/here",))
    assert not discover(f"mqtt://{host}:{port}", how, out, threading.Event(), page, force=False)
    assert not out.exists()
    assert "nothing came on nobody/publishes/here within" in page.export_text()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("mqtt://127.0.0.1:{port}", "connection refused; is it on, is the port right"),
        ("mqtt://plant.example:1883", "here that is --allow-plaintext"),
        ("mqtt://jo:secret@127.0.0.1", "a user or password does not belong into the address"),
        ("http://127.0.0.1", "no address that can be looked at; expected mqtt://"),
    ],
)
def test_discover_when_the_address_does_not_do_says_why(target, words, page):
    with pytest.raises(CommandError, match=words):
        discover(target.format(port=free_port()), How(), None, threading.Event(), page, force=False)


@pytest.mark.parametrize(
    ("filters", "out", "words"),
    [
        (("plants/b#",), None, r"--filter plants/b#: level 'b#' mixes text with a wildcard"),
        ((), "nowhere/plant.toml", r"plant.toml cannot be written: there is no folder .*nowhere"),
    ],
)
def test_discover_when_it_could_not_end_well_says_so_before_it_looks(filters, out, words, tmp_path, page):
    with pytest.raises(CommandError, match=words):
        discover("mqtt://127.0.0.1", How(filters=filters), out and tmp_path / out, threading.Event(), page, force=False)
    assert not page.export_text()


def test_discover_when_a_relative_path_does_not_hold_where_the_file_will_be_says_so_before_it_looks(tmp_path, page):
    file, out = tmp_path / "connection.toml", tmp_path / "plants" / "plant.toml"
    file.write_text('[mqtt]\nhost = "127.0.0.1"\nusername = "jo"\npassword_file = "secret"\n')
    (tmp_path / "secret").write_text("x")
    out.parent.mkdir()
    with pytest.raises(ConfigError, match=r"plant.toml: 1 problem\n  mqtt.password_file: there is no file .*secret"):
        discover(str(file), How(), out, threading.Event(), page, force=False)
    assert not page.export_text()
