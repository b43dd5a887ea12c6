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
