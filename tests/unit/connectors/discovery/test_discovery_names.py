"""Names and units of ours for what devices call as they like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from connectors.discovery import units
from connectors.discovery.names import is_name, name_of
from connectors.fields import Name, Unit
from connectors.units import is_ucum

NAME = TypeAdapter(Name)
TEXTS = st.text(max_size=250) | st.text(alphabet="aB1-_./ é", max_size=6)


@given(TEXTS, st.sets(TEXTS, max_size=5))
def test_name_when_made_of_any_text_is_one_and_not_taken(text: str, others: set[str]) -> None:
    taken = {name_of(one) for one in others}
    name = name_of(text, taken)
    assert NAME.validate_python(name) == name
    assert name not in taken
    assert is_name(name)
    assert is_name(text) == (name_of(text) == text)


@pytest.mark.parametrize(
    ("said", "code"),
    [("kWh", "kW.h"), ("°C", "Cel"), (" m³/h ", "m3/h"), ("MW", "MW"), ("Cel", "Cel"), ("bananas", None), ("", None)],
)
def test_unit_when_spelt_as_in_plants_is_a_ucum_code_or_not_known(said, code):
    assert units.ucum(said) == code


def test_units_when_looked_up_are_ucum_codes():
    assert [code for code in units._CODES if not is_ucum(code)] == []
    for code in units._CODES:
        TypeAdapter(Unit).validate_python(code)
