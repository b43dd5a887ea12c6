"""Points that are found by browse path, numbers within structures and arrays, and what a server has, on asyncua's."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from asyncua import ua
from rich.console import Console

from connectors.config import load
from schemas.base import Quality
from schemas.telemetry import Telemetry
from streams.commands import connect
from streams.commands.discover import How, discover
from streams.commands.errors import CommandError
from tests.integration.connectors.opcua.plant import URI, connector, node, settings, unused_port


def park(**fields: Any) -> dict[str, Any]:
    return {"path": "Park/Turbine*/Power", "namespace": URI, "point": "{2}.power", "unit": "MW", **fields}


def test_browse_when_variables_fit_watches_them_and_those_that_come_later(tape, running, plant):
    plant.build("Park/Turbine1/Power", 1.0)
    plant.build("Park/Turbine2/Power", 2.0)
    plant.build("Park/Turbine2/Wind", 12.0)
    plant.build("Park/Mast/Power", 0.1)
    limits = {"range": {"minimum": 0, "maximum": 5}}
    server = settings(plant.url, node("a", "A"), browse=[park(**limits)], rebrowse=1, keep_alive=5, name="park")
    with running(connector(server)):
        tape.until(lambda: tape.samples("Turbine1.power") and tape.samples("Turbine2.power"), "the two turbines")
        plant.build("Park/Turbine3/Power", 33.0)
        tape.until(lambda: tape.samples("Turbine3.power"), "the third turbine")
        tape.until(lambda: tape.samples("a"), "the node by its identifier")
        plant.write("Park/Turbine1/Power", 1.5)
        tape.until(lambda: tape.samples("Turbine1.power")[-1].value == 1.5, "a change")
    assert tape.samples("Turbine2.power")[0].value == 2.0
    assert tape.samples("Turbine3.power")[0].reason == "33 is outside 0 to 5", "checked as configured"
    points = {record.point for record in tape.records if isinstance(record, Telemetry)}
    assert points == {"a", "Turbine1.power", "Turbine2.power", "Turbine3.power"}


def test_select_when_a_value_is_a_structure_or_an_array_takes_the_part_that_is_named(tape, running, plant):
    kind = plant.structure("GridtapeMeter", {"Power": ua.VariantType.Double, "Phase": ua.VariantType.Int16})
    plant.build("Meter", kind(Power=42.5, Phase=3))
    plant.build("Row", [1.0, 2.0, 3.0])
    nodes = [
        node("power", "Meter", select="Power"),
        node("phase", "Meter", select="Phase"),
        node("lost", "Meter", select="Current"),
        node("third", "Row", select="[2]"),
    ]
    with running(connector(settings(plant.url, *nodes, keep_alive=5))):
        tape.until(lambda: all(tape.samples(point) for point in ("power", "phase", "lost", "third")), "all of them")
    assert [tape.samples(point)[0].value for point in ("power", "phase", "third")] == [42.5, 3.0, 3.0]
    lost = tape.samples("lost")[0]
    assert (lost.quality, lost.reason) == (Quality.BAD, "the value has no field Current: it has Power, Phase")


def test_discover_when_a_server_is_browsed_writes_settings_that_check_finds_good(plant, tmp_path):
    kilowatt = ua.EUInformation(
        "http://www.opcfoundation.org/UA/units/un/cefact", int.from_bytes(b"KWT"), ua.LocalizedText("Kilowatt")
    )
    plant.build("Found/Unit 1/Power", 12.5)
    plant.describe("Found/Unit 1/Power", EngineeringUnits=kilowatt, EURange=ua.Range(-1.0, 500.0))
    plant.build("Found/Unit 1/Running", True)
    plant.build("Found/Unit 1/Name", "north")
    kind = plant.structure("GridtapeFound", {"Active": ua.VariantType.Double, "Text": ua.VariantType.String})
    plant.build("Found/Meter", kind(Active=7.5, Text="x"))
    plant.build("Found/Row", [1.5, 2.5])
    out, page, never = tmp_path / "server.toml", Console(record=True, width=80), threading.Event()
    assert discover(plant.url, How(20.0), out, never, page, force=False)
    assert connect.check(out, 20, never, Console(quiet=True))
    (server,) = load(out).opcua
    named = {one.point: one for one in server.nodes}
    power = named["Found/Unit_1/Power"]
    assert (power.unit, power.identifier, power.namespace) == ("kW", "s=Found/Unit 1/Power", URI)
    assert power.range is not None
    assert (power.range.minimum, power.range.maximum) == (-1.0, 500.0)
    assert {"A", "Found/Unit_1/Running", "Found/Meter.Active", "Found/Row.0", "Found/Row.1"} <= named.keys()
    assert not {"Found/Unit_1/Name", "Found/Meter.Text", "ServerArray"} & named.keys()
    shown = page.export_text()
    assert "not read: no" in shown
    assert "note the server offers events" in shown


def test_discover_when_no_server_is_there_says_so():
    with pytest.raises(CommandError, match="connection refused; is it on, is the port right"):
        discover(f"opc.tcp://127.0.0.1:{unused_port()}", How(), None, threading.Event(), Console(), force=False)
