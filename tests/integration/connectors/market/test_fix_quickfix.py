"""FIX market data against quickfix, through to a real Kafka."""

from __future__ import annotations

import time

import pytest

from connectors.market.fix.codec import time_of
from schemas.books import Book, BookState
from schemas.devices import Device
from schemas.gaps import Gap
from tests.conftest import wait_until

pytest.importorskip("quickfix", reason="quickfix is not installed: make quickfix compiles it")
from tests.integration.connectors.market.fixpeer import Peer
from tests.integration.connectors.market.fixsessions import best_bid, market, running, snapshot, subscriptions

OPENED, CLOSED = ("HENRY-HUB", True), ("HENRY-HUB", False)
HOUR = 3_600_000_000


def test_fix_when_quickfix_is_the_venue_turns_snapshots_and_increments_into_ticks_and_books(
    cluster, records, tmp_path, free_port
):
    with Peer(tmp_path / "peer", free_port) as peer, running(cluster, market(tmp_path, free_port)):
        wait_until(lambda: bool(subscriptions(peer)))
        request = peer.requests[0]
        assert (request["35"], request["55"], request["263"], request["265"]) == ("V", "NG", "1", "1")
        snapshot(peer, "3.10", "3.12")
        records.until(lambda: len(records.ticks()) == 1, "the snapshot")
        better = [(279, "0"), (269, "0"), (55, "NG"), (270, "3.11"), (271, "1")]
        gone = [(279, "2"), (269, "1"), (55, "NG"), (270, "3.12")]
        trade = [(279, "0"), (269, "2"), (55, "NG"), (270, "3.11"), (271, "7")]
        peer.send("X", (262, request["262"]), groups=(268, 279, [better, gone]))
        peer.send("X", (262, request["262"]), groups=(268, 279, [trade]))
        records.until(lambda: len(records.ticks()) == 3, "the increments")
    assert [(t.bid, t.ask, t.last, t.size) for t in records.ticks()] == [
        (3.10, 3.12, None, 0),
        (3.11, None, None, 0),
        (3.11, None, 3.11, 7),
    ]
    assert [t.sequence for t in records.ticks()] == [1, 2, 3]
    live = [book for book in records.of(Book) if book.state is BookState.LIVE]
    assert [level.price for level in live[-1].bids] == [3.11, 3.10]
    assert records.gaps("disconnected") == [OPENED, CLOSED, OPENED]
    states = [device.state.value for device in records.of(Device) if device.device == "venue"]
    assert states[0] == "connecting"
    assert "live" in states
    assert states[-1] == "down"


def test_fix_when_numbers_are_missing_or_the_cable_is_pulled_the_book_is_unknown_until_a_snapshot(
    cluster, records, tmp_path, free_port, cable
):
    line = cable(free_port)
    settings = market(tmp_path, line.address[1], heartbeat=1)
    with Peer(tmp_path / "peer", free_port) as peer, running(cluster, settings):
        wait_until(lambda: len(subscriptions(peer)) == 1)
        snapshot(peer, "3.10", "3.12")
        records.until(lambda: records.ticks(), "the first snapshot")
        peer.next(100)
        best_bid(peer, "3.11")
        wait_until(lambda: len(subscriptions(peer)) == 2)
        records.until(lambda: records.gaps("sequence") == [OPENED], "the gap of the missing numbers")
        snapshot(peer, "4.10", "4.12")
        records.until(lambda: records.gaps("sequence") == [OPENED, CLOSED], "its end")
        line.pull()
        best_bid(peer, "4.11")
        records.until(lambda: records.gaps("disconnected") == [OPENED, CLOSED, OPENED], "the gap of the cable")
        line.plug()
        wait_until(lambda: len(subscriptions(peer)) == 3)
        snapshot(peer, "5.10", "5.12")
        records.until(lambda: records.gaps("disconnected")[3:] == [CLOSED], "its end")
    assert [tick.bid for tick in records.ticks()] == [3.10, 4.10, 5.10]
    lost = [gap for gap in records.of(Gap) if gap.reason == "sequence" and gap.open]
    assert [(gap.last, "did not come" in gap.detail) for gap in lost] == [(99, True)]
    silent = [gap.detail for gap in records.of(Gap) if gap.reason == "disconnected" and gap.open]
    assert "not even an answer to a test request" in silent[1]


def test_fix_when_our_clock_jumps_the_session_ends_and_goes_on_with_the_true_time(
    cluster, records, tmp_path, free_port, machine_clock
):
    with Peer(tmp_path / "peer", free_port) as peer, running(cluster, market(tmp_path, free_port, heartbeat=1)):
        wait_until(lambda: len(subscriptions(peer)) == 1)
        snapshot(peer, "3.10", "3.12")
        records.until(lambda: records.ticks(), "the first snapshot")
        machine_clock.jump(HOUR)
        records.until(lambda: records.gaps("disconnected") == [OPENED, CLOSED, OPENED], "the end of the session")
        machine_clock.jump(-HOUR)
        wait_until(lambda: len(subscriptions(peer)) == 2)
        snapshot(peer, "4.10", "4.12")
        records.until(lambda: records.ticks()[-1].bid == 4.10, "the snapshot after it")
    assert abs(time_of(peer.requests[-1]["52"].encode()) - time.time_ns() // 1000) < HOUR // 2
    times = [tick.receive_time for tick in records.ticks()]
    assert times == sorted(set(times)), "receive times never go back"
