"""A device's way to the publisher, with a publisher whose room the test decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.device import DeviceFeed
from connectors.lifecycle import Profile
from connectors.outlet import Full, Waiting
from schemas.base import Quality
from schemas.gaps import Gap
from schemas.telemetry import Telemetry

T0 = 1_790_000_000_000_000


class Room:
    """Takes ``free`` records and then no more, as the real publisher does while Kafka is away."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.taken: list[tuple[object, object]] = []
        self.ids: list[str] = []

    def publish(self, topic, key, record, *, event_id, done=None):
        if not self.free:
            raise Full("no room")
        self.free -= 1
        self.taken.append((record, done))
        self.ids.append(event_id)

    def seen(self, device, point, raw):
        pass

    def waiting(self):
        return Waiting()

    @property
    def samples(self) -> list[Telemetry]:
        return [record for record, _ in self.taken if isinstance(record, Telemetry)]

    @property
    def gaps(self) -> list[Gap]:
        return [record for record, _ in self.taken if isinstance(record, Gap)]


def sample(feed: DeviceFeed, at: int, value: float | None = 1.0, point: str = "p") -> None:
    quality = Quality.BAD if value is None else Quality.GOOD
    # The feed's first gap carries the time now, and samples must come after it.
    now = T0 + at * 1_000_000
    feed.sample(point, value, unit="1", quality=quality, event_time=now, receive_time=now)


def test_device_when_it_starts_is_unknown_until_the_first_data():
    room = Room(100)
    feed = DeviceFeed(room, "test", Profile("d", "test"))
    sample(feed, 1)
    assert [(gap.reason, gap.open) for gap in room.gaps] == [("disconnected", True), ("disconnected", False)]
    assert isinstance(room.taken[-1][0], Telemetry), "the gap closes before the sample"


def test_device_when_it_has_no_values_none_are_missing():
    room = Room(100)
    feed = DeviceFeed(room, "test", Profile("d", "test"), valued=False)
    feed.missed(1, 3, "lost")
    feed.disconnected("cut")
    assert not room.gaps


@given(capacity=st.integers(1, 20), arriving=st.integers(0, 60))
def test_device_when_kafka_is_full_keeps_what_fits_and_counts_the_rest(capacity, arriving):
    room = Room(3)  # the gap of the start, its closing, the first sample
    feed = DeviceFeed(room, "test", Profile("d", "test"), capacity=capacity)
    sample(feed, 0)
    for at in range(1, arriving + 1):
        sample(feed, at)
    assert [s.sequence for s in room.samples] == [1]
    room.free = 1000
    feed.drain()
    sample(feed, arriving + 1)
    numbers = [s.sequence for s in room.samples]
    assert numbers == sorted(set(numbers)), "order is kept, nothing twice"
    lost = sorted(set(range(1, arriving + 3)) - set(numbers))
    overflow = [gap for gap in room.gaps if gap.reason == "overflow"]
    assert lost == list(range(capacity + 2, arriving + 2))
    if lost:
        assert [gap.open for gap in overflow] == [True, False]
        assert overflow[0].count == len(lost)
        assert f"{lost[0]} to {lost[-1]}" in overflow[0].detail
    else:
        assert not overflow


def test_device_when_many_points_overflow_each_gets_its_gap():
    room = Room(3)
    feed = DeviceFeed(room, "test", Profile("d", "test"), capacity=1)
    sample(feed, 0)
    sample(feed, 1)
    points = [f"p{i}" for i in range(3000)]
    for point in points:
        sample(feed, 2, point=point)
    room.free = 10_000
    feed.drain()
    assert {gap.point for gap in room.gaps if gap.reason == "overflow"} == set(points)
    assert all(gap.count == 1 for gap in room.gaps if gap.reason == "overflow")


def test_device_when_the_producer_fails_for_good_hands_the_same_record_over_again():
    room = Room(100)
    feed = DeviceFeed(room, "test", Profile("d", "test"))
    sample(feed, 1)
    record, done = room.taken[-1]
    done("_FATAL: the producer was fenced")
    feed.drain()
    assert room.taken[-1][0] is record
    assert room.ids[-1] == room.ids[-2]
    room.taken[-1][1](None)
    before = len(room.taken)
    feed.drain()
    assert len(room.taken) == before, "what Kafka has is not sent again"


@pytest.mark.parametrize(("value", "silent"), [(1.0, False), (None, True)])
def test_device_when_a_point_only_has_errors_it_is_silent(monkeypatch, value, silent):
    room = Room(1000)
    clock = T0
    for name in ("now", "steady"):
        monkeypatch.setattr(f"connectors.clock.{name}", lambda: clock)
    feed = DeviceFeed(room, "test", Profile("d", "test"))
    feed.watch("p", 5_000_000)
    for at in range(1, 8):
        clock = T0 + at * 1_000_000
        sample(feed, at, value)
        feed.check_silence()
    found = [gap for gap in room.gaps if gap.reason == "silence"]
    assert [(gap.point, gap.open) for gap in found] == ([("p", True)] if silent else [])
