"""FIX market data against a venue that misbehaves as no library does, through to a real Kafka."""

from __future__ import annotations

import time

import pytest

from connectors.market.fix.codec import encode, time_text
from schemas.dead_letters import DeadLetter
from schemas.devices import Device
from tests.conftest import wait_until
from tests.integration.connectors.market.conftest import BadVenue
from tests.integration.connectors.market.fixsessions import market, running


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
    with running(cluster, market(tmp_path, venue.port)):
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

    with running(cluster, market(tmp_path, venue.port, heartbeat=1, clock_tolerance=86_400)):
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
    with running(cluster, market(tmp_path, venue.port)):
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
    with running(cluster, market(tmp_path, venue.port)):
        wait_until(lambda: any(m.kind == b"V" for m in venue.received))
        records.until(lambda: ("HENRY-HUB", True) in records.gaps("sequence"), "the gap with the reason")
    assert not records.ticks()


def test_fix_when_a_message_cannot_be_read_keeps_it_for_a_person(cluster, records, venue, tmp_path):
    with running(cluster, market(tmp_path, venue.port)):
        records.until(lambda: records.ticks(), "the first snapshot")
        wrong_count(venue)
        records.until(lambda: records.of(DeadLetter), "the dead letter")
    (letter,) = records.of(DeadLetter)
    assert "NoMDEntries (268) is 9, but there are 1 entries" in letter.reason
    assert b"35=X" in letter.raw
