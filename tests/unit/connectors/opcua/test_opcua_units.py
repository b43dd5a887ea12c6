"""Units that OPC UA servers tell by UNECE code or by words."""

from __future__ import annotations

import pytest

from connectors.opcua import units
from connectors.units import is_ucum

UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"


@pytest.mark.parametrize(
    ("namespace", "number", "words", "code"),
    [
        (UNECE, 4937556, "", "kW"),  # KWT, as the OPC Foundation's list of units has it
        (UNECE, 4408652, "whatever", "Cel"),
        (UNECE, 20529, "pct", "%"),
        (UNECE, 999, "kWh", "kW.h"),
        ("urn:vendor", 4937544, "m³/h", "m3/h"),
        (None, -1, "", None),
        (UNECE, 2**31 - 1, "apples", None),
    ],
)
def test_unit_when_a_server_tells_it_is_found_by_code_or_words(namespace, number, words, code):
    assert units.unit_of(namespace, number, words) == code


def test_units_when_looked_up_by_code_are_ucum():
    assert [code for code in units._CODES.values() if not is_ucum(code)] == []
