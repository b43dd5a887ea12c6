"""What an event notification says, and what is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from hypothesis import given
from hypothesis import strategies as st

from connectors.opcua.events import BASE, FIELDS, by_path, event_of, filters, type_of
from connectors.opcua.values import UnusableTime
from schemas import topics
from schemas.base import Quality

MOMENT = datetime(2026, 9, 21, 12, 0, 0, 250_000, tzinfo=UTC)
MICROS = int(MOMENT.timestamp()) * 1_000_000 + 250_000
URI = "urn:test:plant"
ALARM = {
    "EventId": b"\x01\xff",
    "EventType": ua.NodeId(ObjectIds.OffNormalAlarmType),
    "SourceNode": ua.NodeId("Boiler", 1),
    "SourceName": "Boiler",
    "Time": MOMENT,
    "ReceiveTime": MOMENT + timedelta(seconds=1),
    "Message": ua.LocalizedText("too hot"),
    "Severity": 700,
    "": ua.NodeId("Boiler.Hot", 1),
    "ConditionName": "Hot",
    "BranchId": ua.NodeId(),
    "Retain": True,
    "EnabledState/Id": True,
    "Quality": ua.StatusCode(StatusCodes.Good),
    "Comment": ua.LocalizedText("on it"),
    "AckedState/Id": False,
    "ConfirmedState/Id": None,
    "ActiveState/Id": True,
    "ActiveState/EffectiveDisplayName": ua.LocalizedText("Active"),
    "LimitState/CurrentState": ua.LocalizedText("HighHigh"),
    "SuppressedOrShelved": False,
}


def record(told, ahead=0, tolerance=60_000_000):
    return event_of(
        told,
        device="d",
        type_name="OffNormalAlarmType",
        namespaces=["http://opcfoundation.org/UA/", URI],
        receive_time=MICROS - ahead,
        clock_tolerance=tolerance,
    )


def test_event_when_an_alarm_is_told_keeps_its_states_and_times():
    event = record(by_path(FIELDS, [ua.Variant(ALARM[field.path]) for field in FIELDS]))
    assert (event.event_id, event.type, event.type_id) == ("01ff", "OffNormalAlarmType", "i=10637")
    assert (event.source, event.source_id) == ("Boiler", f"nsu={URI};s=Boiler")
    assert (event.condition, event.condition_id, event.branch_id) == ("Hot", f"nsu={URI};s=Boiler.Hot", None)
    assert (event.severity, event.message, event.comment, event.level) == (700, "too hot", "on it", "HighHigh")
    assert (event.enabled, event.active, event.acknowledged, event.confirmed) == (True, True, False, None)
    assert (event.retain, event.suppressed) == (True, False)
    assert (event.event_time, event.source_time) == (MICROS, MICROS + 1_000_000)
    assert (event.quality, event.reason) == (Quality.GOOD, "")
    assert topics.events.decode(topics.events.encode(event)) == event


def test_event_when_only_the_base_fields_came_is_a_mere_event():
    event = record(by_path(BASE, [ua.Variant(ALARM[field.path]) for field in BASE]))
    assert (event.condition_id, event.retain, event.active, event.acknowledged) == (None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "ahead", "quality", "reason"),
    [
        ({"Quality": ua.StatusCode(StatusCodes.BadNotConnected)}, 0, Quality.BAD, "BadNotConnected"),
        ({"Quality": ua.StatusCode(StatusCodes.Uncertain)}, 0, Quality.UNCERTAIN, "Uncertain"),
        ({}, 61_000_000, Quality.UNCERTAIN, "the source's clock is 61.0 s ahead"),
        (
            {"Quality": ua.StatusCode(StatusCodes.Bad)},
            61_000_000,
            Quality.BAD,
            "Bad; the source's clock is 61.0 s ahead",
        ),
    ],
)
def test_event_when_something_is_doubtful_says_so(changes, ahead, quality, reason):
    event = record(ALARM | changes, ahead)
    assert (event.quality, event.reason, event.event_time) == (quality, reason, MICROS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Time": None}, (MICROS + 1_000_000, MICROS + 1_000_000)),
        ({"Time": None, "ReceiveTime": None}, (MICROS, None)),
        ({"ReceiveTime": datetime(1601, 1, 1, tzinfo=UTC)}, (MICROS, None)),
    ],
)
def test_event_when_a_time_is_missing_takes_the_next_best(changes, expected):
    event = record(ALARM | changes)
    assert (event.event_time, event.source_time) == expected


def test_event_when_its_clock_was_never_set_is_refused():
    with pytest.raises(UnusableTime, match="1970"):
        record(ALARM | {"Time": datetime(1970, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize("event_id", [None, b"", b"x" * 65])
def test_event_when_its_id_is_of_no_use_gets_one_from_what_it_says(event_id):
    one, again = record(ALARM | {"EventId": event_id}), record(ALARM | {"EventId": event_id}, ahead=5)
    other = record(ALARM | {"EventId": event_id and event_id + b"y", "Message": ua.LocalizedText("other")})
    assert one.event_id == again.event_id != other.event_id
    assert one.event_id.startswith("sha256-")


_VARIANTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3000),
    st.binary(max_size=100),
    st.datetimes(),
    st.builds(ua.NodeId, st.text(), st.integers(0, 5)),
    st.builds(ua.NodeId, st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1)),
    st.builds(ua.NodeId, st.binary(min_size=1), st.integers(0, 5)),
    st.builds(ua.NodeId, st.uuids(), st.integers(0, 5)),
    st.builds(ua.LocalizedText, st.none() | st.text()),
    st.builds(ua.StatusCode, st.integers(0, 2**32 - 1)),
    st.lists(st.integers(), max_size=3),
)


@given(st.fixed_dictionaries({field.path: _VARIANTS for field in FIELDS}))
def test_event_when_a_server_says_anything_at_all_keeps_its_contract_or_is_refused(told):
    try:
        event = record(told)
    except UnusableTime:
        return
    assert topics.events.decode(topics.events.encode(event)) == event
    assert isinstance(type_of(told), ua.NodeId)


def test_filters_when_tried_in_turn_ask_for_less_each_time():
    asked = [(chosen == FIELDS, len(one.SelectClauses), len(one.WhereClause.Elements)) for chosen, one in filters(500)]
    assert asked == [(True, 21, 3), (False, 8, 3), (True, 21, 0), (False, 8, 0)]
    assert [len(one.WhereClause.Elements) for _, one in filters(1)] == [0, 0]
    (chosen, asked_first), *_ = filters(500)
    condition = asked_first.SelectClauses[[field.path for field in chosen].index("")]
    assert (condition.BrowsePath, condition.AttributeId) == ([], ua.AttributeIds.NodeId)
    assert asked_first.WhereClause.Elements[1].FilterOperands[1].Value.Value == 500
