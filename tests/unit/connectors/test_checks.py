"""Checks flag a value and never correct it; units are converted exactly and rounded once."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.checks import Checks, Measured
from connectors.units import conversion
from schemas.base import LATEST_TIME, Quality
from schemas.telemetry import Telemetry

T0 = 1_795_244_400_000_000
SECOND = 1_000_000


def sample(value: float | None, at: float = 0.0, *, late: float = 0.0, **changes: Any) -> Telemetry:
    time = T0 + round(at * SECOND)
    fields: dict[str, Any] = {"device": "d", "point": "p", "value": value, "unit": "raw", "sequence": 1, "reason": ""}
    times = {"event_time": time, "receive_time": time + round(late * SECOND)}
    return Telemetry(**{**fields, **times, **changes})


def judged(how: dict[str, Any], *samples: Telemetry) -> list[Telemetry]:
    checks, measured = Checks(), Measured.model_validate({"unit": "MW", **how})
    return [checks.apply(measured, one) for one in samples]


def reasons(how: dict[str, Any], *samples: Telemetry) -> list[str]:
    found = judged(how, *samples)
    assert [r.value for r in found] == [s.value for s in samples], "flagged, never corrected"
    assert all((r.quality is Quality.UNCERTAIN) == bool(r.reason) for r in found)
    return [r.reason for r in found]


def test_range_when_outside_is_uncertain_with_both_bounds():
    how = {"range": {"minimum": 0, "maximum": 100}}
    assert reasons(how, sample(100), sample(100.5), sample(-1)) == [
        "",
        "100.5 is outside 0 to 100",
        "-1 is outside 0 to 100",
    ]


def test_spike_when_faster_than_plausible_is_flagged_once_for_a_step():
    said = reasons({"spike": 5}, sample(10, 0), sample(14, 1), sample(30, 2), sample(31, 3), sample(31.5, 3))
    assert said == ["", "", "spike: a change of 16 within 1 s is more than 5 a second", "", said[4]]
    assert said[4].startswith("spike: a change of 0.5 within 0 s")


def test_flat_when_nothing_changes_for_too_long_is_flagged_until_it_does():
    said = reasons({"flat": 10}, *(sample(7, at) for at in (0, 5, 10, 10.5)), sample(8, 11), sample(8, 21))
    assert said == ["", "", "", "flat line: 7 without any change for 10.5 s", "", ""]


def test_stale_when_the_time_is_old_on_arrival_is_flagged():
    assert reasons({"stale": 2}, sample(1, late=2), sample(1, 1, late=2.5)) == [
        "",
        "stale: the source's time was 2.5 s ago",
    ]


def test_history_when_older_than_the_newest_says_nothing_about_spike_or_rest():
    assert reasons({"spike": 1, "flat": 3}, sample(0, 10), sample(99, 2), sample(0, 11), sample(0, 13.5)) == [
        "",
        "",
        "",
        "flat line: 0 without any change for 3.5 s",
    ]


def test_expiry_when_configured_is_counted_from_the_sources_time_and_stays_within_the_contract():
    (found,) = judged({"expires": 30}, sample(1, late=9))
    assert found.valid_until == T0 + 30 * SECOND
    assert judged({}, sample(1))[0].valid_until is None
    (last,) = judged({"expires": 30}, sample(1, event_time=LATEST_TIME - 5))
    assert last.valid_until == LATEST_TIME - 1


def test_bad_when_doubtful_as_well_stays_bad_with_every_reason():
    (found,) = judged({"range": {"minimum": 0, "maximum": 1}}, sample(5, quality=Quality.BAD, reason="sensor broken"))
    assert (found.quality, found.reason) == (Quality.BAD, "sensor broken; 5 is outside 0 to 1")
    (empty,) = judged({"source_unit": "kW"}, sample(None, quality=Quality.BAD, reason="no answer"))
    assert (empty.value, empty.unit, empty.reason) == (None, "MW", "no answer")


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [
        ("kW", "MW", 37_430.13837, 37.43013837),
        ("[degF]", "Cel", 212.0, 100.0),
        ("[degF]", "Cel", -40.0, -40.0),
        ("Cel", "K", 0.0, 273.15),
        ("[psi]", "bar", 1000.0, 68.94757293168361),
        ("m3/h", "m3/s", 3600.0, 1.0),
        ("%", "1", 55.0, 0.55),
        ("[Btu_IT]", "kW.h", 1e6, 293.07107017222223),
        ("MW.h", "MW.h", 0.1, 0.1),
    ],
)
def test_units_when_converted_are_exact(source: str, target: str, value: float, expected: float):
    (found,) = judged({"unit": target, "source_unit": source}, sample(value))
    assert found.value == expected
    assert (found.unit, found.quality) == (target, Quality.GOOD)


@given(st.floats(-1e15, 1e15))
def test_units_when_converted_are_rounded_once(value: float):
    (found,) = judged({"unit": "MW", "source_unit": "kW"}, sample(value))
    assert found.value == float(Fraction(value) / 1000)


@given(st.floats(-1e6, 1e6))
def test_units_when_converted_there_and_back_come_back(value: float):
    there, back = conversion("[psi]", "bar"), conversion("bar", "[psi]")
    assert back(there(value)) == pytest.approx(value, rel=1e-15)


def test_units_when_the_result_is_too_large_has_no_value_and_says_why():
    (found,) = judged({"unit": "uW", "source_unit": "GW"}, sample(1e9))
    assert (found.value, found.quality) == (None, Quality.BAD)
    assert found.reason == "1e+09 GW is beyond what is recorded in uW (±1e18)"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("bar", "MW", "no conversion from bar to MW: Cannot convert from 'bar'"),
        ("nonsense", "MW", "'nonsense' or 'MW' is no UCUM unit"),
        ("[pH]", "mol/l", "no conversion from|is no UCUM unit"),
    ],
)
def test_units_when_they_do_not_convert_are_refused_with_the_settings(source: str, target: str, said: str):
    with pytest.raises(ValidationError, match=said):
        Measured(unit=target, source_unit=source)


def test_range_and_unit_when_both_are_given_the_range_is_in_the_records_unit():
    how = {"source_unit": "kW", "range": {"minimum": 0, "maximum": 450}}
    good, bad = judged(how, sample(400_000), sample(500_000, 1))
    assert (good.quality, bad.reason) == (Quality.GOOD, "500 is outside 0 to 450")
