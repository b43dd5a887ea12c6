"""gridtape connect discover on what an edge node publishes."""

from __future__ import annotations

import threading

import pytest
from rich.console import Console

from connectors.config import load
from connectors.sparkplug.simulator import double, properties, simulate
from streams.commands import connect
from streams.commands.discover import How, discover


def test_discover_when_a_node_is_asked_for_its_birth_writes_settings_that_check_finds_good(mosquitto, tmp_path):
    host, port = mosquitto
    file, out, stop, never = tmp_path / "c.toml", tmp_path / "out.toml", threading.Event(), threading.Event()
    file.write_text(f'[sparkplug]\nhost = "{host}"\nport = {port}\nhost_id = "found"\n')
    plant = threading.Thread(target=simulate, args=(host, port, stop), kwargs={"seed": 7, "interval": 0.1})
    plant.start()
    try:
        how = How(1.0, ("spBv1.0/plant/#",), rebirth=True)
        assert discover(str(file), how, out, never, Console(quiet=True), force=False)
        assert connect.check(out, 10.0, never, Console(quiet=True))
    finally:
        stop.set()
        plant.join(10)
    sparkplug = load(out).sparkplug
    assert sparkplug is not None
    assert sparkplug.host_id == "found"
    points = {
        (device.name, point.name): (point.unit, point.eng_unit)
        for device in sparkplug.devices
        for point in device.points
    }
    assert points == {
        ("edge-1", "Supply_Voltage"): ("1", None),
        ("inverter-1", "Power/AC"): ("kW", None),
        ("inverter-1", "Temperature"): ("Cel", "°C"),
        **{("inverter-1", f"Phase_Currents/{n}"): ("1", None) for n in range(3)},
    }


@pytest.mark.parametrize("born", [True, False])
def test_discover_when_no_birth_comes_says_how_to_get_one(mosquitto, tmp_path, group, edge, born):
    """By the broker's address: what speaks Sparkplug there has a section of its own."""
    host, port = mosquitto
    out, stop, page = tmp_path / "out.toml", threading.Event(), Console(record=True, width=200)

    def publish() -> None:
        while not stop.wait(0.05):
            if born:
                edge.birth(double("Power", 3.0, properties=properties(engUnit="MW")))
            edge.say("NDATA", "", [double(None, 3.5, alias=7)])

    node = threading.Thread(target=publish)
    node.start()
    try:
        how = How(0.6, (f"spBv1.0/{group}/#",))
        found = discover(f"mqtt://{host}:{port}", how, out, threading.Event(), page, force=False)
    finally:
        stop.set()
        node.join(10)
    assert found is out.exists() is born
    assert ("no birth came meanwhile" in page.export_text()) is not born
    if born:
        sparkplug = load(out).sparkplug
        assert sparkplug is not None
        assert [(one.name, one.points[0].name, one.points[0].unit) for one in sparkplug.devices] == [
            ("n", "Power", "MW")
        ]
        assert load(out).mqtt is None
