"""Events and conditions of asyncua's server: told once, in order, and anew after whatever was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from asyncua import ua

from connectors.metrics import State
from tests.integration.connectors.opcua.plant import MOMENT, URI, Plant, connector, node, settings, state, unused_port


def micros(moment) -> int:
    return round(moment.timestamp() * 1_000_000)


def of_events(tape):
    return [gap for gap in tape.gaps() if gap.feed == "events"]


def watched(tape):
    tape.until(lambda: [gap.open for gap in of_events(tape)] == [True, False], "the events are watched")


def test_alarms_when_events_are_fired_keep_their_words_and_times_and_come_once(tape, running, plant):
    server = settings(plant.url, node("a", "A"), events=[{}, {"severity": 300}])
    with running(connector(server)):
        watched(tape)
        plain = plant.fire("pump started", Severity=200)
        audit = plant.fire("somebody wrote", ua.ObjectIds.AuditEventType, Severity=900)
        plant.fire("no clock", moment=datetime(1970, 1, 1, tzinfo=UTC))
        tape.until(tape.letters, "the event whose clock was never set")
        tape.until(lambda: len(tape.events()) == 2, "both")
        plant.write("A", 1.0)
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "values come as well")
    started, wrote = tape.events()
    assert (started.event_id, started.type, started.message, started.severity) == (
        plain,
        "BaseEventType",
        "pump started",
        200,
    )
    assert (started.source, started.source_id, started.condition_id) == ("Server", "i=2253", None)
    assert (wrote.event_id, wrote.type, wrote.sequence, wrote.refreshed) == (audit, "AuditEventType", 2, False)
    assert started.event_time == micros(MOMENT) < started.source_time <= started.receive_time
    assert "1970" in tape.letters()[0].reason
    assert {f"d/{plain}", f"d/{audit}"} <= set(tape.ids)
    assert len(set(tape.ids)) == len(tape.ids)


def test_alarms_when_a_condition_changes_tell_each_state_and_after_a_cut_the_present_one(tape, running, plant):
    hot, over = plant.alarm("Hot"), plant.alarm("Over")
    hot("is hot", Active=True, Acked=False, Retain=True)
    over("was it", Active=True, Acked=False, Retain=True)
    with running(connector(settings(plant.url, events=[{"types": ["ConditionType"]}]))):
        watched(tape)
        hot("still hot", Acked=True)
        plant.fire("of another type")
        hot("hotter", moment=MOMENT + timedelta(seconds=1))
        tape.until(lambda: len(tape.events()) == 4, "two states from before, two changes")
        plant.cut_connections()
        over("is over", Active=False, Retain=False)
        latest = hot("cooler", Active=False)
        tape.until(lambda: [gap.open for gap in of_events(tape)] == [True, False, True, False], "known again")
    hot("is over", Retain=False)
    told = [(e.message, e.active, e.acknowledged, e.retain, e.refreshed) for e in tape.events()]
    assert told == [
        ("is hot", True, False, True, True),
        ("was it", True, False, True, True),
        ("still hot", True, True, True, False),
        ("hotter", True, True, True, False),
        ("cooler", False, True, True, True),
    ]
    assert {e.condition_id for e in tape.events()} == {f"nsu={URI};s=Hot", f"nsu={URI};s=Over"}
    assert tape.events()[-1].event_id == latest
    assert [e.sequence for e in tape.events()] == [1, 2, 3, 4, 5]
    assert tape.gaps() == of_events(tape), "no values are missing where none are watched"
    opened, closed = of_events(tape)[2:]
    assert (opened.reason, opened.gap_id, opened.key) == ("disconnected", closed.gap_id, "d")
    assert opened.receive_time < tape.events()[-1].receive_time <= closed.receive_time, "it closes behind what was told"


def test_alarms_when_the_servers_queue_overflows_record_a_gap_and_ask_for_the_states(tape, running, plant):
    hot = plant.alarm("Hot")
    with running(connector(settings(plant.url, events=[{}]))):
        watched(tape)
        first = hot("is hot", Active=True, Retain=True)
        tape.until(tape.events, "the alarm")
        plant.overflow()
        tape.until(lambda: len(of_events(tape)) == 4, "a gap, opened and closed")
        over = hot("is over", Active=False, Retain=False)
        tape.until(lambda: len(tape.events()) == 3, "its end")
    opened, closed = of_events(tape)[2:]
    assert (opened.reason, opened.open, closed.open) == ("overflow", True, False)
    assert "queue_size 1000" in opened.detail
    assert "told again" in closed.detail
    assert [(e.event_id, e.refreshed) for e in tape.events()] == [(first, False), (first, True), (over, False)]
    assert len(set(tape.ids)) == len(tape.ids)


def test_alarms_when_an_object_or_a_type_is_missing_the_others_are_watched_until_it_appears(tape, running, plant):
    wanted = [{}, {"path": "Later/Boiler"}, {"types": ["NoSuchType"]}]
    with running(connector(settings(plant.url, name="half", events=wanted))):
        watched(tape)
        tape.until(lambda: state("half") is State.DEGRADED, "the state")
        tape.until(lambda: tape.devices, "the status")
        plant.fire("seen all the same")
        tape.until(tape.events, "the event")
        tape.until(lambda: any("Later/Boiler" in device.reason for device in tape.devices), "the reason")


def test_alarms_when_a_server_knows_no_conditions_the_gap_says_so(tape, running):
    with (
        Plant(unused_port(), conditions=False) as plant,
        running(connector(settings(plant.url, events=[{"severity": 500}]))),
    ):
        watched(tape)
        plant.fire("too little", Severity=499)
        plant.fire("enough", Severity=500)
        tape.until(tape.events, "the event")
    assert [e.message for e in tape.events()] == ["enough"]
    assert "the server tells no states of conditions: Bad" in of_events(tape)[1].detail
