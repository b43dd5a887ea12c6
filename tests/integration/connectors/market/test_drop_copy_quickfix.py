"""The drop copy against quickfix, on a real Kafka: what is booked survives everything that is done to the session."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal

import pytest

from processors.holdings import FLAT, book
from schemas.base import Coordinates
from schemas.dead_letters import DeadLetter
from schemas.fills import Fill
from schemas.gaps import Gap
from tests.conftest import wait_until

pytest.importorskip("quickfix", reason="quickfix is not installed: make quickfix compiles it")
from tests.integration.connectors.market.conftest import Records
from tests.integration.connectors.market.fixpeer import Peer
from tests.integration.connectors.market.fixsessions import distinct, drop_copy, report, reported, running

AT = Coordinates(topic="fills", partition=0, offset=0)


def quantity(fills: list[Fill]) -> Decimal:
    held = FLAT
    for fill in distinct(fills).values():
        held = book(held, fill, AT)
    return held.quantity


def test_drop_copy_when_restarted_gets_what_it_missed_exactly_once(cluster, records, tmp_path, free_port):
    settings = drop_copy(tmp_path, free_port)
    with Peer(tmp_path / "peer", free_port) as peer:
        with running(cluster, settings):
            wait_until(peer.on.is_set)
            for number in range(5):
                report(peer, number)
            records.until(lambda: len(records.of(Fill)) == 5, "the first fills")
        for number in range(5, 10):  # while nobody listens
            report(peer, number)
        with running(cluster, settings):
            records.until(lambda: len(distinct(records.of(Fill))) == 10, "what was missed")
            report(peer, 3, again=True)
            report(peer, 10)
            records.until(lambda: reported([10])[0] in distinct(records.of(Fill)), "the next fill")
        fills = records.of(Fill)
        assert len(fills) == 11, "a report that counted as taken was published again"
        assert [fill.fill_id for fill in fills] == reported(range(11))
        assert quantity(fills) == 220_000
        assert {fill.book for fill in fills} == {"gas-desk"}
        stopped = {"the connector starts", "the connector stops"}
        records.until(lambda: stopped <= details(records, closed=True), "the end of what the first run left open")


def details(records: Records, *, closed: bool) -> set[str]:
    """Why gaps of the fills were opened, of those whose closing has come or has not."""
    gaps = [gap for gap in records.of(Gap) if gap.feed == "fills"]
    ended = {gap.gap_id for gap in gaps if not gap.open}
    return {gap.detail for gap in gaps if gap.open and (gap.gap_id in ended) is closed}


def test_drop_copy_when_trades_are_corrected_and_cancelled_ends_right(cluster, records, tmp_path, free_port):
    with Peer(tmp_path / "peer", free_port) as peer, running(cluster, drop_copy(tmp_path, free_port)):
        wait_until(peer.on.is_set)
        report(peer, 1, quantity="2")
        report(peer, 2, quantity="5")
        report(peer, 3, kind="G", reference="E1", quantity="3", price="3.6")
        report(peer, 4, kind="H", reference="E2")
        report(peer, 5, kind="H", reference="E99")  # never seen
        report(peer, 6, account="unknown")
        report(peer, 7, quantity="1")
        records.until(lambda: reported([7])[0] in distinct(records.of(Fill)), "the last fill")
        records.until(lambda: len(records.of(DeadLetter)) == 2, "the letters")
    assert quantity(records.of(Fill)) == 40_000
    reasons = [letter.reason for letter in records.of(DeadLetter)]
    assert ["never booked" in reasons[0], "belongs to no book" in reasons[1]] == [True, True]


def test_drop_copy_when_the_venue_restarts_goes_on_where_it_was_and_takes_nothing_under_other_numbers(
    cluster, records, tmp_path, free_port
):
    """The third start has lost its numbers, until a person sets them right; the fourth counts anew and says so.

    We are restarted in between, and close then what we opened before.
    """
    unknown = "whether fills were missed is not known; reconcile"

    def reconcile(why: str) -> list[bool]:
        return [gap.open for gap in records.of(Gap) if unknown in gap.detail and why in gap.detail]

    settings = drop_copy(tmp_path, free_port)
    with ExitStack() as ours:
        ours.enter_context(running(cluster, settings))
        for first in (0, 10):
            with Peer(tmp_path / "peer", free_port) as peer:
                wait_until(peer.on.is_set)
                for number in range(first, first + 10):
                    report(peer, number)
                records.until(lambda least=first + 10: len(records.of(Fill)) >= least, "the fills")
        with Peer(tmp_path / "without", free_port) as peer:
            report(peer, 99)  # under a number that another report had: never taken
            records.until(lambda: reconcile("MsgSeqNum too low, expecting") == [True], "the gap")
            ours.close()
            ours.enter_context(running(cluster, settings))
            records.until(lambda: "the connector starts" in details(records, closed=False), "our new start")
            peer.next(1000)
            report(peer, 20)
            records.until(lambda: reported([20])[0] in distinct(records.of(Fill)), "what comes under the right number")
            records.until(lambda: reconcile("too low") == [True, False], "the end of the gap")
            records.until(lambda: not details(records, closed=False), "the end of all gaps")
        with Peer(tmp_path / "anew", free_port, resets=True) as peer:
            wait_until(peer.on.is_set)
            report(peer, 21)
            records.until(lambda: reported([21])[0] in distinct(records.of(Fill)), "what comes under new numbers")
            records.until(lambda: reconcile("the peer counts anew from 1") == [True, False], "the gap of new numbers")
    assert list(distinct(records.of(Fill))) == reported(range(22))
