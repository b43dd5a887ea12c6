from __future__ import annotations

from datetime import UTC, datetime

import pytest

from connectors.market.contract.hours import ALWAYS, Spans, hours_of


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def test_spans_when_asked_between_sessions_are_closed():
    spans = Spans([10, 30], [20, 40])
    assert [spans.open_since(t) for t in (9, 10, 19, 20, 29, 35, 40)] == [None, 10, 10, None, None, 30, None]


def test_spans_when_an_opening_has_no_closing_are_refused():
    with pytest.raises(ValueError, match="every opening needs a closing"):
        Spans([10], [10])


def test_calendar_when_known_tells_weekend_holiday_and_early_close():
    new_york = hours_of("XNYS")
    assert new_york.open_since(at("2026-11-20T15:00")) == at("2026-11-20T14:30")
    assert new_york.open_since(at("2026-11-21T15:00")) is None  # Saturday
    assert new_york.open_since(at("2026-07-03T15:00")) is None  # Independence Day, observed
    assert new_york.open_since(at("2025-11-28T18:30")) is None  # the day after Thanksgiving ends at 13:00


def test_calendar_when_it_has_a_break_at_noon_is_closed_then():
    tokyo = hours_of("XTKS")
    assert tokyo.open_since(at("2026-11-20T02:45")) is None
    assert tokyo.open_since(at("2026-11-20T04:00")) == at("2026-11-20T03:30")


def test_calendar_when_it_never_closes_needs_no_library():
    assert hours_of("24/7") is ALWAYS


def test_calendar_when_unknown_names_examples():
    with pytest.raises(ValueError, match="there is no calendar 'XXXX'; expected a code such as XEUR"):
        hours_of("XXXX")
