from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.wording import number
from schemas import topics
from schemas.base import Coordinates, Quality
from schemas.books import Book, BookState, Level, Trading
from schemas.dead_letters import DeadLetter
from schemas.device_settings import DeviceChange, DeviceSection, DeviceSettings
from schemas.devices import Device, DeviceState
from schemas.events import Event
from schemas.topics import Topic
from schemas.writes import Write, WriteOutcome
from streams.commands.describe import describe, moment, plain


@given(st.text())
def test_plain_when_text_is_any_gives_one_printable_line(text: str):
    shown = plain(text)

    assert shown == "" or shown.isprintable()
    assert "\x1b" not in shown


LIVE = {"state": BookState.LIVE, "trading": Trading.OPEN}
UNKNOWN = {"state": BookState.UNKNOWN, "trading": Trading.UNKNOWN}


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_describe_when_record_is_of_any_topic_says_it_in_one_line(topic: Topic, memory_day):
    if topic is topics.dead_letters:
        at = Coordinates(topic="ticks", partition=1, offset=7)
        letter = DeadLetter(
            letter_id="l",
            application="positions",
            reason="no JSON",
            at=at,
            raw=b"{",
            size=1,
            event_time=memory_day.now,
            receive_time=memory_day.now,
        )
        assert describe(letter) == "positions gave up on ticks[1]@7: no JSON (1 bytes)"
        return
    if topic is topics.control:
        from streams.control import kill_switch

        _, _, switch = kill_switch("book:oil-desk", True, "drill", "ann", memory_day.now)
        assert describe(switch) == f"kill switch book:oil-desk engaged by ann: drill (version {memory_day.now})"
        return
    if topic is topics.books:
        times = {"event_time": memory_day.now, "receive_time": memory_day.now}
        bid, ask = Level(price=70.1, size=5), Level(price=70.2, size=3)
        book = Book(instrument="WTI", venue="NYMEX", bids=[bid], asks=[ask, ask], sequence=4, **LIVE, **times)
        assert describe(book) == "WTI book live: bid 5 at 70.1, ask 3 at 70.2, 1 + 2 levels, NYMEX sequence 4"
        hole = Book(
            instrument="WTI", venue="NYMEX", bids=[], asks=[], sequence=5, reason="7 missing", **UNKNOWN, **times
        )
        assert describe(hole) == "WTI book unknown (7 missing): empty, 0 + 0 levels, NYMEX sequence 5"
        return
    if topic is topics.devices:
        now = memory_day.now
        times = {"since": now, "started": now, "expires": now, "event_time": now, "receive_time": now}
        gone = Device(
            device="d", connector="modbus", protocol="modbus-tcp", state=DeviceState.DOWN, reason="no answer", **times
        )
        assert describe(gone).endswith("; no answer; 0 records, 0 errors, 0 lost")
        return
    if topic is topics.device_settings:
        times = {"event_time": memory_day.now, "receive_time": memory_day.now}
        text = {"section": DeviceSection.MODBUS, "settings": "port = 1502"}
        wanted = DeviceSettings(process="north", device="gas-1", change=DeviceChange.SET, actor="ann", **text, **times)
        assert describe(wanted) == "gas-1 of north: set in modbus by ann"
        return
    if topic is topics.events:
        times = {"event_time": memory_day.now, "receive_time": memory_day.now}
        tank = {"type": "ExclusiveLevelAlarmType", "source": "Tank", "message": "too full", "sequence": 1}
        alarm = Event(
            device="wind-1",
            event_id="e",
            severity=800,
            condition="Level",
            active=True,
            acknowledged=False,
            quality=Quality.UNCERTAIN,
            reason="sensor",
            **tank,
            **times,
        )
        assert describe(alarm) == (
            "wind-1: Level of Tank: too full; severity 800; active, not acknowledged; uncertain (sensor)"
        )
        return
    if topic is topics.writes:
        now = memory_day.now
        times = {"asked_time": now, "event_time": now, "receive_time": now}
        who = {
            "write_id": "w",
            "actor": "ann",
            "host": "h",
            "reason": "dispatch",
            "protocol": "modbus-tcp",
            "place": "p",
        }
        what = {"device": "gas-1", "point": "setpoint", "unit": "MW", "asked": Decimal("50.5")}
        asked = Write(**who, **what, **times, outcome=WriteOutcome.ASKED)
        assert describe(asked) == "ann writes gas-1/setpoint = 50.5 MW (dispatch): asked"
        return
    records = memory_day.driver.records(topic)

    assert records, "the day has at least one of each"
    for record in records:
        words = describe(record)
        assert words.strip() == words != ""
        assert words.isprintable()


def test_describe_when_position_is_live_shows_quantity_times_mark_with_unit(memory_day):
    held = memory_day.driver.latest(topics.positions)["oil-desk|WTI"]

    assert describe(held).startswith("oil-desk WTI 12 000 bbl × 110 = 1 320 000 USD; average 70.1, realised 0 USD")


def test_describe_when_position_is_unknown_shows_no_number_for_its_mark(memory_day):
    held = memory_day.driver.latest(topics.positions)["gas-desk|HENRY-HUB"]

    words = describe(held)
    assert "mark unknown" in words
    assert number(7.512) not in words


def test_describe_when_telemetry_has_bad_quality_and_no_value_says_both(memory_day):
    sample = next(r for r in memory_day.driver.records(topics.telemetry) if r.device == "gas-1")

    assert describe(sample).startswith("gas-1/temperature = no value, bad")


def test_moment_when_given_micros_is_utc_to_the_millisecond():
    assert moment(1_795_262_403_250_999) == "2026-11-21 12:00:03.250Z"
