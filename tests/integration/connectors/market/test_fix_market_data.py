"""FIX market data against quickfix and against a venue that misbehaves, through to a real Kafka."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.market.fix.codec import encode, time_text
from connectors.market.fix.config import FixConfig
from connectors.market.fix.connector import FixConnector
from connectors.publisher import Publisher
from schemas.books import Book, BookState
from schemas.dead_letters import DeadLetter
from schemas.devices import Device
from streams.engine.cluster import Cluster
from tests.conftest import wait_until
from tests.integration.connectors.market.conftest import BadVenue
from tests.integration.connectors.market.fixpeer import Peer


def config(folder: Path, port: int, **given: object) -> FixConfig:
    return FixConfig.model_validate(
        {
            "name": "venue",
            "host": "127.0.0.1",
            "port": port,
            "sender": "HOUSE",
            "target": "VENUE",
            "store": folder / "venue.db",
            "venue": "X",
            "backoff_ceiling": 1,
            "instruments": [{"instrument": "HENRY-HUB", "symbol": "NG", "depth": 2, "depth_interval": 0}],
            **given,
        },
        context={"folder": folder},
    )


@contextmanager
def running(cluster: Cluster, settings: FixConfig) -> Iterator[None]:
    publisher, stop = Publisher(cluster, "fix"), threading.Event()
    thread = threading.Thread(target=FixConnector([settings], publisher).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        publisher.close()
    assert not thread.is_alive()


@pytest.mark.skipif(
    importlib.util.find_spec("quickfix") is None,
    reason="quickfix is not installed (pip install quickfix; it is compiled)",
)
def test_fix_when_quickfix_is_the_venue_turns_snapshots_and_increments_into_ticks_and_books(
    cluster, records, tmp_path, free_port
):
    settings = config(tmp_path, free_port)
    with Peer(tmp_path / "peer", free_port) as peer, running(cluster, settings):
        wait_until(lambda: bool(peer.requests))
        request = peer.requests[0]
        assert (request["35"], request["55"], request["263"], request["265"]) == ("V", "NG", "1", "1")
        sides = [[(269, "0"), (270, "3.10"), (271, "5")], [(269, "1"), (270, "3.12"), (271, "4")]]
        peer.send("W", (262, request["262"]), (55, "NG"), groups=(268, 269, sides))
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
    assert records.gaps("disconnected") == [("HENRY-HUB", True), ("HENRY-HUB", False), ("HENRY-HUB", True)]
    states = [device.state.value for device in records.of(Device) if device.device == "venue"]
    assert states[0] == "connecting"
    assert "live" in states
    assert states[-1] == "down"


def gap(venue: BadVenue) -> None:
    venue.sequence += 3
    venue.raw(venue.bid("10.1"))


def duplicate(venue: BadVenue) -> None:
    """A number that is too low, and not marked as a repeat, ends the session."""
    data = venue.bid("10.1")
    venue.raw(data + data)


def reorder(venue: BadVenue) -> None:
    first, second = venue.bid("10.1"), venue.bid("10.2")
    venue.raw(second + first)


def cut(venue: BadVenue) -> None:
    venue.raw(venue.bid("10.1")[:25])
    venue.drop()


def rubbish(venue: BadVenue) -> None:
    venue.raw(b"\x00\xff8=FIX\x01" * 50)
    venue.bid("10.1")  # counted, never sent
    venue.raw(venue.bid("10.2"))


def checksum(venue: BadVenue) -> None:
    venue.raw(venue.bid("10.1")[:-4] + b"zzz\x01" + venue.bid("10.2"))


def length(venue: BadVenue) -> None:
    venue.raw(venue.bid("10.1").replace(b"\x019=", b"\x019=9") + venue.bid("10.2") * 40)


def oversize(venue: BadVenue) -> None:
    venue.raw(venue.bid("10.1").replace(b"\x019=", b"\x019=9999") + venue.bid("10.2"))


def clock(venue: BadVenue) -> None:
    """An hour ahead."""
    venue.sequence += 1
    ahead = time_text(time.time_ns() // 1000 + 3_600_000_000)
    venue.raw(encode([(35, "X"), (49, "VENUE"), (56, "HOUSE"), (34, venue.sequence), (52, ahead), (268, "0")]))


def wrong_count(venue: BadVenue) -> None:
    """A repeating group that is not as long as it says."""
    venue.send("X", (268, "9"), (279, "0"), (269, "0"), (55, "NG"), (270, "10"), (271, "1"))


@pytest.mark.parametrize(
    "fault",
    [gap, duplicate, reorder, cut, rubbish, checksum, length, oversize, clock, wrong_count],
    ids=lambda f: f.__name__,
)
def test_fix_when_the_venue_misbehaves_is_unknown_until_a_snapshot_and_then_right(
    fault, cluster, records, venue, tmp_path
):
    with running(cluster, config(tmp_path, venue.port)):
        records.until(lambda: records.ticks(), "the first snapshot")
        # from now on the market is elsewhere: what is shown after the fault must come from a new snapshot
        plain = venue.answers
        venue.answers = lambda venue, message: (
            venue.snapshot(message.text(262), "20", "21")
            if message.kind == b"V" and message.text(263) == "1"
            else plain(venue, message)
        )
        fault(venue)
        records.until(lambda: records.ticks()[-1].bid == 20, "the snapshot after the fault")
        venue.raw(venue.bid("20.5"))
        records.until(lambda: records.ticks()[-1].bid == 20.5, "the feed goes on")
        both = {("HENRY-HUB", True), ("HENRY-HUB", False)}
        records.until(lambda: both <= {*records.gaps("sequence"), *records.gaps("disconnected")[2:]}, "the gap")
    assert not {10.2} & {tick.bid for tick in records.ticks()}, "a price from beyond the hole was shown"
    assert len(set(records.ids)) == len(records.ids)


def test_fix_when_our_clock_is_set_heartbeats_go_on_and_the_session_lives(
    cluster, records, venue, tmp_path, machine_clock
):
    hour = 3_600_000_000

    def heartbeats() -> int:
        return sum(message.kind == b"0" for message in venue.received)

    with running(cluster, config(tmp_path, venue.port, heartbeat=2, clock_tolerance=86_400)):
        records.until(lambda: records.ticks(), "the first snapshot")
        for jump, price in ((hour, 10.1), (-2 * hour, 10.2)):
            machine_clock.jump(jump)
            machine_clock.until_read(10)
            before = heartbeats()
            venue.raw(venue.bid(str(price)))
            records.until(lambda bid=price: records.ticks()[-1].bid == bid, "a price after the jump")
            wait_until(lambda least=before: heartbeats() > least)
        assert venue.connections == 1


def test_fix_when_the_logon_is_refused_says_so_and_does_not_hurry(cluster, records, venue, tmp_path):
    venue.answers = lambda venue, message: (venue.send("5", (58, "unknown user")), venue.drop())
    with running(cluster, config(tmp_path, venue.port)):
        records.until(lambda: any("unknown user" in d.reason for d in records.of(Device)), "the reason")
        first = venue.connections
    assert first <= 3
    assert not records.ticks()


def test_fix_when_the_venue_refuses_the_subscription_leaves_the_gap_open(cluster, records, venue, tmp_path):
    plain = venue.answers
    venue.answers = lambda venue, message: (
        venue.send("Y", (262, message.text(262)), (281, "0"), (58, "no such symbol"))
        if message.kind == b"V"
        else plain(venue, message)
    )
    with running(cluster, config(tmp_path, venue.port)):
        wait_until(lambda: any(m.kind == b"V" for m in venue.received))
        records.until(lambda: ("HENRY-HUB", True) in records.gaps("sequence"), "the gap with the reason")
    assert not records.ticks()


def test_fix_when_a_message_cannot_be_read_keeps_it_for_a_person(cluster, records, venue, tmp_path):
    with running(cluster, config(tmp_path, venue.port)):
        records.until(lambda: records.ticks(), "the first snapshot")
        wrong_count(venue)
        records.until(lambda: records.of(DeadLetter), "the dead letter")
    (letter,) = records.of(DeadLetter)
    assert "NoMDEntries (268) is 9, but there are 1 entries" in letter.reason
    assert b"35=X" in letter.raw
