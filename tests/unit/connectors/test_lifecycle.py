"""The life cycle of a device, with the clock in the test's hand."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from connectors.fields import Identified, Range
from connectors.lifecycle import HEARTBEAT, Lifecycle, profile_of
from connectors.outlet import Waiting
from schemas import topics
from schemas.devices import Device, DeviceState, Storage

T0 = 1_795_262_400_000_000
WHERE = Identified(site="north", asset="GT 1", book="gas-desk")


class Book:
    """A life cycle and all that it wrote; ``now`` is its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = T0
        for name in ("now", "steady"):
            monkeypatch.setattr(f"connectors.clock.{name}", lambda: self.now)
        self.written: list[Device] = []
        self.ids: list[str] = []
        points = [("output", "MW", Range(minimum=0, maximum=450)), ("running", "1", None)]
        self.life = Lifecycle("test-life", profile_of("gas-1", "modbus-tcp", WHERE, points), self._emit)

    def _emit(self, record: Device, identity: str) -> None:
        assert topics.devices.decode(topics.devices.encode(record)) == record
        self.written.append(record)
        self.ids.append(identity)


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    return Book(monkeypatch)


def test_lifecycle_when_the_state_changes_writes_it_once_with_reason_and_profile(book: Book) -> None:
    book.life.state(DeviceState.CONNECTING)
    book.life.state(DeviceState.CONNECTING, "nothing has come")
    book.now += 5
    book.life.state(DeviceState.DOWN, "no answer")
    book.life.state(DeviceState.DOWN, "still none")
    assert [(d.state, d.reason, d.since) for d in book.written] == [
        ("connecting", "", T0),
        ("connecting", "nothing has come", T0),
        ("down", "no answer", T0 + 5),
    ]
    down = book.written[-1]
    assert (down.site, down.asset, down.book) == ("north", "GT 1", "gas-desk")
    assert [(p.point, p.minimum, p.maximum) for p in down.points] == [("output", 0, 450), ("running", None, None)]
    shown = {"connector": "test-life", "device": "gas-1", "state": "down"}
    assert REGISTRY.get_sample_value("gridtape_connector_state", shown) == 1


def test_lifecycle_when_nothing_changes_beats_and_a_missing_beat_expires(book: Book) -> None:
    book.life.beat()
    assert not book.written, "there is nothing to say before the first state"
    book.life.state(DeviceState.LIVE)
    for _ in range(30):
        book.now += HEARTBEAT // 10
        book.life.taken()
        book.life.beat()
    assert 3 <= len(book.written) <= 4
    assert all(d.expires > later.event_time for d, later in zip(book.written, book.written[1:], strict=False))
    assert {d.since for d in book.written} == {T0}
    assert book.written[-1].records > book.written[0].records == 0


def test_lifecycle_when_records_wait_elsewhere_says_so_once_and_when_it_is_over(book: Book) -> None:
    book.life.state(DeviceState.LIVE)
    for waiting in (Waiting(Storage.DISK, 1, "Kafka is away"), Waiting(Storage.DISK, 9, "Kafka is away"), Waiting()):
        book.life.waits(waiting)
    assert [(d.storage, d.waiting) for d in book.written] == [("direct", 0), ("disk", 1), ("direct", 0)]
    assert book.written[1].storage_reason == "Kafka is away"


def test_lifecycle_when_it_counts_tells_the_sums_and_how_often_it_came_back(book: Book) -> None:
    for state in (DeviceState.LIVE, DeviceState.DOWN, DeviceState.LIVE):
        book.life.taken()
        book.life.failed()
        book.life.state(state)
    book.life.lost(7)
    book.life.state(DeviceState.STALE)
    last = book.written[-1]
    assert (last.records, last.errors, last.lost, last.connects) == (3, 3, 7, 2)
    assert len(set(book.ids)) == len(book.ids)
