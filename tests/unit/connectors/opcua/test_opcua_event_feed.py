"""What of a server's events is told: each once, in order, and what is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.device import DeviceFeed
from connectors.lifecycle import Profile
from connectors.opcua import event_feed
from connectors.opcua.event_feed import EventFeed
from schemas.events import Event
from tests.unit.connectors.test_device import T0, Room


def event(event_id: str) -> Event:
    return Event(
        device="d", event_id=event_id, type="T", severity=1, sequence=0, event_time=T0, receive_time=T0, retain=True
    )


def told(room: Room) -> list[Event]:
    return [record for record, _ in room.taken if isinstance(record, Event)]


def feed_with(room: Room) -> EventFeed:
    return EventFeed(DeviceFeed(room, "test", Profile("d", "test")))


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, 1, 2])), max_size=40))
def test_events_when_repeated_in_any_order_are_told_once_and_once_for_each_question(arriving):
    room = Room(1000)
    feed = feed_with(room)
    for event_id, refresh in arriving:
        assert feed.tell(event(event_id), refresh)
    expected = list(dict.fromkeys(arriving))
    assert [(e.event_id, e.refreshed) for e in told(room)] == [(one, refresh is not None) for one, refresh in expected]
    assert [e.sequence for e in told(room)] == list(range(1, len(expected) + 1))
    assert len(set(room.ids)) == len(room.ids)


def test_events_when_there_are_very_many_the_oldest_ids_are_forgotten(monkeypatch):
    monkeypatch.setattr(event_feed, "_REMEMBERED", 2)
    room = Room(1000)
    feed = feed_with(room)
    for event_id in "abcca":
        feed.tell(event(event_id))
    assert [e.event_id for e in told(room)] == ["a", "b", "c", "a"]
    assert room.ids.count("d/a") == 2, "whoever reads it knows it by its id"


def test_events_when_there_is_no_room_are_said_to_be_lost_and_taken_when_told_again():
    room = Room(2)  # the gaps of the start: of the values and of the events
    device = DeviceFeed(room, "test", Profile("d", "test"), capacity=1)
    feed = EventFeed(device)
    assert feed.tell(event("a"))
    assert not feed.tell(event("b"))
    feed.lost("no room")
    room.free = 100
    device.drain()
    assert feed.tell(event("c"))
    assert feed.tell(event("b"), 1)
    feed.known("told again")
    assert [(e.event_id, e.sequence) for e in told(room)] == [("a", 1), ("c", 3), ("b", 4)]
    gaps = [(gap.reason, gap.open) for gap in room.gaps if gap.feed == "events"]
    assert gaps == [("disconnected", True), ("overflow", True), ("disconnected", False), ("overflow", False)]
    assert all("told again" in gap.detail for gap in room.gaps if gap.feed == "events" and not gap.open)


def test_events_when_interrupted_again_and_again_the_open_gap_is_one():
    room = Room(100)
    feed = feed_with(room)
    feed.interrupted("cut")
    feed.known("known")
    feed.interrupted("cut")
    feed.interrupted("still cut")
    assert [(gap.detail, gap.open) for gap in room.gaps if gap.feed == "events"][2:] == [("cut", True)]
