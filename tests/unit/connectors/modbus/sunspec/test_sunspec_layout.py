"""The layout of every published model, held to the SunSpec Alliance's own library; hostile lengths and counts."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sunspec2 import device as sunspec
from ucumvert.parser import get_ucum_parser

from connectors.modbus.decoder import decode, exponent, text
from connectors.modbus.sunspec.layout import places, register
from connectors.modbus.sunspec.models import model
from connectors.modbus.sunspec.units import ucum
from tests.sunspec_device import filled, values, words

NUMBERS = sorted(
    int(found[1])
    for file in (files("sunspec2") / "models" / "json").iterdir()
    if (found := re.fullmatch(r"model_(\d+)\.json", file.name))
)
BASE = 40_002


def read(number: int, all_words: list[int]) -> dict[str, float | None]:
    found = {}
    for place in places(model(number), BASE, all_words):
        if (one := register(place, model(number).group.name, 30_000_000)) is None:
            continue
        at = one.address - BASE
        power = 0 if one.factor is None else exponent(all_words[one.factor.address - BASE :][:1])
        found[one.point] = None if isinstance(power, str) else decode(one, all_words[at : at + one.size], power).value
    return found


@pytest.mark.parametrize("number", NUMBERS)
def test_layout_when_the_library_has_filled_the_model_reads_the_same_values_under_the_same_names(number):
    made = filled(number)
    assert not made.error_info
    expected = {name: value for name, _definition, value in values(made)}
    found = read(number, words(made))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-9), name


@pytest.mark.parametrize("number", [1, 101, 103, 113, 160, 203, 213, 701, 714, 802])
def test_layout_when_nothing_is_implemented_has_no_value_anywhere(number):
    empty = sunspec.Model(model_id=number, data={"N": 1, "NPrt": 1})
    found = read(number, words(empty))
    assert {name for name, value in found.items() if value is not None} <= {"mppt.N", "DERMeasureDC.NPrt"}


@settings(max_examples=40)
@given(number=st.sampled_from(NUMBERS), data=st.data())
def test_layout_when_lengths_and_counts_are_anything_stays_within_the_model(number, data):
    length = data.draw(st.integers(0, 300))
    filler = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=length, max_size=length))
    all_words = [number, length, *filler]
    found = list(places(model(number), BASE, all_words))
    assert all(place.address >= BASE and place.end <= BASE + len(all_words) for place in found)
    assert len({place.path for place in found}) == len(found) <= len(all_words)
    for place in found:
        register(place, "m", 30_000_000)


def test_units_when_any_model_names_one_are_ucum():
    def units(group):
        yield from (point.units for point in group.points)
        for inner in group.groups:
            yield from units(inner)

    codes = {ucum(unit) for number in NUMBERS for unit in units(model(number).group)}
    parser = get_ucum_parser()
    for code in codes:
        assert len(code) <= 40
        parser.parse(code)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", "1"),
        ("W", "W"),
        ("C", "Cel"),
        ("var", "V.A{reactive}"),
        ("% WMax/min", "%/min"),
        (" % WChaMax", "%"),
        ("%ARtg/%dV", "{%ARtg/%dV}"),
        ("YYYYMMDD", "{YYYYMMDD}"),
    ],
)
def test_unit_when_sunspec_has_its_own_word_is_translated(said, code):
    assert ucum(said) == code


def test_text_when_padded_with_zeros_and_control_characters_is_what_a_person_reads():
    assert text([0x536D, 0x6100, 0x5858]) == "Sma"
    assert text([0x410A, 0x4200]) == "AB"
    assert text([0, 0]) == ""
