"""Points that are found by browse path, and numbers within structures and arrays, on asyncua's server."""

from __future__ import annotations

from typing import Any

from asyncua import ua

from schemas.base import Quality
from schemas.telemetry import Telemetry
from tests.integration.connectors.opcua.plant import URI, connector, node, settings


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
