"""A server that tells types without end, or in the place of the standard's."""

from __future__ import annotations

import pytest
from asyncua import ua
from asyncua.common import structures104

from connectors.opcua import types
from connectors.opcua.bounds import CutOff
from tests.unit.connectors.opcua.scripted import asked
from tests.unit.connectors.opcua.test_opcua_look import page


def test_types_when_a_server_tells_them_without_end_are_given_up(monkeypatch) -> None:
    monkeypatch.setattr(types, "_MOST_TOLD", 500)
    result = ua.BrowseResult(ContinuationPoint=b"more", References=page(20))
    endless = {
        "Browse": lambda *_: ua.BrowseResponse(Results=[result]),
        "BrowseNext": lambda *_: ua.BrowseNextResponse(Parameters=ua.BrowseNextResult([result])),
    }
    with pytest.raises(CutOff, match="more than 500 types of its own"):
        asked(lambda client: types.load_types(client, 10), endless)


def test_types_when_one_would_stand_in_the_place_of_the_standards_stay_what_they_are(monkeypatch) -> None:
    class Impostor:
        """A structure of the server's."""

    standard, own = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary), ua.NodeId(5001, 2)
    known = ua.extension_objects_by_typeid[standard]
    for kept, key in ((ua.extension_objects_by_typeid, own), (ua.typeid_by_extension_objects, Impostor)):
        monkeypatch.setitem(kept, key, None)  # forgets it again
    monkeypatch.setattr(ua, "Impostor", Impostor, raising=False)
    for encoding in (standard, own):
        ua.register_extension_object("Impostor", encoding, Impostor)
    assert ua.extension_objects_by_typeid[standard] is known
    assert ua.extension_objects_by_typeid[own] is Impostor


@pytest.mark.parametrize("bit", [2**40, 64, -1])
def test_types_when_an_option_set_has_bits_beyond_any_number_are_refused(bit: int) -> None:
    fields = [ua.EnumField(Name="A", Value=0), ua.EnumField(Name="B", Value=bit)]
    with pytest.raises(ValueError, match="bits beyond 0 to 63"):
        structures104.make_enum("Flags", ua.EnumDefinition(fields), True)
    plain = structures104.make_enum("Flags", ua.EnumDefinition(fields), False)["Flags"]
    assert plain(bit).name == "B"


def told(server: str, *fields: tuple[str, int]) -> tuple[type, str]:
    """A server tells a structure of its own: its class, and why it is refused."""
    number, encoding = ua.NodeId(4001, 7), ua.NodeId(4002, 7)
    parts = [ua.StructureField(Name=name, DataType=ua.NodeId(kind), ValueRank=-1) for name, kind in fields]
    before = types._telling.set(telling := types._Telling(server))
    try:
        definition = ua.StructureDefinition(StructureType=ua.StructureType.Structure, Fields=parts)
        made = structures104.make_structure(number, "GridtapeOfTwo", definition)["GridtapeOfTwo"]
        ua.register_extension_object("GridtapeOfTwo", encoding, made, number)
    finally:
        types._telling.reset(before)
    return ua.extension_objects_by_typeid[encoding], telling.refused


def test_types_when_told_again_are_kept_until_they_change_and_never_taken_from_another_server() -> None:
    power, phase = ("Power", ua.ObjectIds.Double), ("Phase", ua.ObjectIds.Int16)
    first, _ = told("opc.tcp://a", power, phase)
    kept = len(ua.typeid_by_extension_objects)
    assert told("opc.tcp://a", power, phase) == (first, "")
    changed, refused = told("opc.tcp://a", phase, power)
    assert changed is not first, "the server was updated"
    assert not refused
    assert len(ua.typeid_by_extension_objects) == kept, "nothing is left of what it was"

    assert told("opc.tcp://b", phase, power) == (changed, ""), "the same type of two servers"
    still, refused = told("opc.tcp://b", power, phase)
    assert still is changed
    assert "laid out otherwise than what opc.tcp://a has" in refused
