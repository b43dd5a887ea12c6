"""Status codes, times and numbers of OPC UA, one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from hypothesis import given
from hypothesis import strategies as st

from connectors.opcua.values import UnusableTime, sampled, status_name
from schemas.base import EARLIEST_TIME, LATEST_TIME, Quality

T0 = 1_795_000_000_000_000
MOMENT = datetime(2026, 9, 21, 12, 0, 0, 250_000, tzinfo=UTC)
MICROS = int(MOMENT.timestamp()) * 1_000_000 + 250_000


def value(raw=1.5, code=0, kind=None, source=MOMENT, server=None):
    return ua.DataValue(ua.Variant(raw, kind), ua.StatusCode(code), SourceTimestamp=source, ServerTimestamp=server)


@pytest.mark.parametrize(
    ("code", "quality", "reason"),
    [
        (StatusCodes.Good, Quality.GOOD, ""),
        (StatusCodes.GoodLocalOverride, Quality.GOOD, "GoodLocalOverride"),
        (StatusCodes.Uncertain, Quality.UNCERTAIN, "Uncertain"),
        (StatusCodes.UncertainLastUsableValue, Quality.UNCERTAIN, "UncertainLastUsableValue"),
        (StatusCodes.BadSensorFailure, Quality.BAD, "BadSensorFailure"),
        (0xC0000000, Quality.BAD, "(0xc0000000)"),
        (0x400 | 0x100, Quality.UNCERTAIN, "at its low limit"),
        (0x400 | 0x200, Quality.UNCERTAIN, "at its high limit"),
    ],
)
def test_value_when_a_status_comes_with_it_keeps_its_class_and_its_name(code, quality, reason):
    sample = sampled(value(code=code), T0)
    assert (sample.value, sample.quality, sample.event_time) == (1.5, quality, MICROS)
    assert reason in sample.reason
    assert bool(sample.reason) == bool(reason)


@pytest.mark.parametrize(
    ("code", "overflow"), [(0x480, True), (0x40900480, True), (0x400, False), (0x80, False), (0, False)]
)
def test_value_when_the_overflow_bit_is_set_with_its_info_type_says_so(code, overflow):
    assert sampled(value(code=code), T0).overflow is overflow


def test_value_when_good_with_overflow_is_still_a_good_value():
    assert sampled(value(code=0x480), T0)[:3] == (1.5, Quality.GOOD, "")


@pytest.mark.parametrize(
    ("raw", "kind", "reason"),
    [
        (None, None, "no value"),
        (math.nan, ua.VariantType.Double, "nan"),
        (-math.inf, ua.VariantType.Float, "-inf"),
        ("12", ua.VariantType.String, "String"),
        ([1.0, 2.0], ua.VariantType.Double, "Double"),
        (b"x", ua.VariantType.ByteString, "ByteString"),
        (1e19, ua.VariantType.Double, "beyond"),
    ],
)
def test_value_when_it_is_no_finite_number_is_bad_without_value(raw, kind, reason):
    sample = sampled(value(raw, kind=kind), T0)
    assert (sample.value, sample.quality) == (None, Quality.BAD)
    assert reason in sample.reason


@pytest.mark.parametrize(
    ("raw", "kind", "number"),
    [(True, ua.VariantType.Boolean, 1.0), (False, ua.VariantType.Boolean, 0.0), (-7, ua.VariantType.Int16, -7.0)],
)
def test_value_when_it_is_a_switch_or_an_integer_is_that_number(raw, kind, number):
    assert sampled(value(raw, kind=kind), T0)[:2] == (number, Quality.GOOD)


@dataclass
class Phase:
    Current: object
    Name: str = "L1"


@dataclass
class Meter:
    Total: object
    Phases: list[Phase]


METER = Meter(7.5, [Phase(1.5), Phase(math.inf), Phase(True)])


@pytest.mark.parametrize(
    ("raw", "select", "number", "reason"),
    [
        (METER, "Total", 7.5, ""),
        (METER, "Phases[0].Current", 1.5, ""),
        (METER, "Phases[2].Current", 1.0, ""),
        ([1.0, 2.0], "[1]", 2.0, ""),
        ([[1, 2], [3, 4]], "[1][0]", 3.0, ""),
        (METER, "Phases[1].Current", None, "the value is inf"),
        (METER, "Phases[0].Name", None, "Phases[0].Name is of type str"),
        (METER, "Phases[3].Current", None, "Phases has 3 elements"),
        (METER, "Total[0]", None, "Total is no array"),
        (METER, "Totl", None, "the value has no field Totl: it has Total, Phases"),
        (METER, "__class__", None, "the value has no field __class__"),
        ([1.0], "Total", None, "the value has no field Total: it is of type list"),
        (Meter(None, []), "Total", None, "no value"),
    ],
)
def test_value_when_a_part_is_selected_is_that_number_or_says_what_is_there(raw, select, number, reason):
    data = value(1.0)
    data = ua.DataValue(ua.Variant(raw, ua.VariantType.ExtensionObject), SourceTimestamp=data.SourceTimestamp)
    sample = sampled(data, T0, select=select)
    assert sample.value == number
    assert sample.quality is (Quality.BAD if number is None else Quality.GOOD)
    assert reason in sample.reason


def test_value_when_a_float_cannot_hold_the_integer_is_uncertain():
    sample = sampled(value(2**53 + 1, kind=ua.VariantType.Int64), T0)
    assert sample.quality is Quality.UNCERTAIN
    assert "9007199254740993 is rounded" in sample.reason


def test_value_when_the_source_gives_no_time_takes_the_servers_then_ours():
    assert sampled(value(source=None, server=MOMENT), T0).event_time == MICROS
    assert sampled(value(source=None), T0).event_time == T0


@pytest.mark.parametrize("year", [1601, 1970, 1999, 2100, 9999])
def test_value_when_the_clock_was_never_set_is_refused(year):
    with pytest.raises(UnusableTime, match=str(year)):
        sampled(value(source=datetime(year, 1, 1, tzinfo=UTC)), T0)


@given(
    raw=st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text()),
    code=st.integers(0, 2**32 - 1),
    micros=st.integers(EARLIEST_TIME, LATEST_TIME - 1),
)
def test_value_when_anything_arrives_never_gives_a_number_that_is_none(raw, code, micros):
    kind = ua.VariantType.Double if isinstance(raw, float) else None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    sample = sampled(value(raw, code, kind, moment), micros)
    assert sample.event_time == micros
    if sample.value is None:
        assert sample.quality is Quality.BAD
        assert sample.reason
    else:
        assert abs(sample.value) <= 1e18
        assert sample.value == float(raw)


@pytest.mark.parametrize(("ahead", "quality"), [(59, Quality.GOOD), (61, Quality.UNCERTAIN)])
def test_value_when_the_sources_clock_is_far_ahead_is_uncertain_and_not_restamped(ahead, quality):
    sample = sampled(value(), MICROS - ahead * 1_000_000)
    assert (sample.quality, sample.event_time) == (quality, MICROS)
    assert ("61.0 s ahead" in sample.reason) is (quality is Quality.UNCERTAIN)


def test_status_name_when_unknown_shows_the_number():
    assert status_name(0x80340000) == "BadNodeIdUnknown"
    assert "0x9abc0000" in status_name(0x9ABC0000)
