from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.delivery import GAS_DAY, day_span, period_at, periods

HOUR = 3_600_000_000


def utc(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%dT%H:%MZ")


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"),
    [("Europe/Berlin", date(2026, 3, 29), date(2026, 10, 25)), ("US/Eastern", date(2026, 3, 8), date(2026, 11, 1))],
)
def test_day_when_clocks_change_has_23_or_25_hours(zone, spring, autumn):
    assert [len(periods(day, zone)) for day in (spring, autumn, autumn + timedelta(days=1))] == [23, 25, 24]
    assert [len(periods(day, zone, minutes=15)) for day in (spring, autumn)] == [92, 100]


def test_berlin_when_summer_begins_skips_two_o_clock():
    hours = periods(date(2026, 3, 29), "Europe/Berlin")
    assert [hour.label for hour in hours[:4]] == ["00:00", "01:00", "03:00", "04:00"]
    assert utc(hours[0].start) == "2026-03-28T23:00Z"
    assert utc(hours[2].start) == "2026-03-29T01:00Z"
    assert hours[-1].number == 23


def test_berlin_when_summer_ends_names_both_of_the_hours():
    hours = periods(date(2026, 10, 25), "Europe/Berlin")
    assert [hour.label for hour in hours[1:5]] == ["01:00", "02:00A", "02:00B", "03:00"]
    assert hours[3].start - hours[2].start == HOUR


def test_eastern_when_summer_ends_repeats_one_o_clock():
    hours = periods(date(2026, 11, 1), "US/Eastern")
    assert [hour.label for hour in hours[:4]] == ["00:00", "01:00A", "01:00B", "02:00"]
    assert utc(hours[2].start) == "2026-11-01T06:00Z"


def test_gas_day_when_clocks_change_is_the_one_before_the_power_day():
    # The clock changes at 01:00 UTC on Sunday, which still belongs to Saturday's gas day.
    assert len(periods(date(2026, 3, 28), "Europe/Berlin", begins=GAS_DAY)) == 23
    assert len(periods(date(2026, 3, 29), "Europe/Berlin", begins=GAS_DAY)) == 24
    assert utc(day_span(date(2026, 7, 1), "Europe/Berlin", begins=GAS_DAY)[0]) == "2026-07-01T04:00Z"


def test_periods_when_the_day_is_no_whole_number_of_them_are_refused():
    with pytest.raises(ValueError, match="2026-03-29 in Europe/Berlin lasts 1380 minutes: no whole periods of 1440"):
        periods(date(2026, 3, 29), "Europe/Berlin", minutes=24 * 60)


ZONES = st.sampled_from(["Europe/Berlin", "US/Eastern", "UTC", "Australia/Sydney", "Asia/Kolkata"])


@given(st.dates(date(2001, 1, 2), date(2098, 12, 30)), ZONES, st.sampled_from([60, 30, 15]))
def test_days_when_laid_end_to_end_cover_time_without_hole_or_overlap(day, zone, minutes):
    today, tomorrow = periods(day, zone, minutes=minutes), periods(day + timedelta(days=1), zone, minutes=minutes)
    ends = [one.end for one in today]
    assert ends == [one.start for one in today[1:]] + [tomorrow[0].start]
    assert len({one.label for one in today}) == len(today)


@given(st.integers(1_000_000_000_000_000, 4_000_000_000_000_000), ZONES, st.sampled_from([60, 15]))
def test_period_at_when_asked_for_any_instant_holds_it(micros, zone, minutes):
    for begins in (GAS_DAY, GAS_DAY.replace(hour=0)):
        _day, period = period_at(micros, zone, minutes=minutes, begins=begins)
        assert period.start <= micros < period.end
