"""WebSocket feeds against a real server that misbehaves, through to a real Kafka."""

from __future__ import annotations

import json
import socket
import time

import pytest

from schemas.dead_letters import DeadLetter
from schemas.devices import Device
from tests.conftest import wait_until
from tests.integration.connectors.market.exchange import Exchange
from tests.integration.connectors.market.websocketfeeds import config, running


def gap(exchange: Exchange) -> None:
    exchange.change()
    exchange.send(exchange.change())


def reorder(exchange: Exchange) -> None:
    first, second = exchange.change(), exchange.change()
    exchange.send(second, first)


def cut(exchange: Exchange) -> None:
    """The connection breaks in the middle of a message."""
    exchange.change()
    exchange.connections[-1].socket.sendall(b"\x81\x7e\x01\x00{")
    exchange.connections[-1].socket.shutdown(socket.SHUT_RDWR)


def rubbish(exchange: Exchange) -> None:
    exchange.send(b"\xff\xfe", "{not json", "[" * 5000)


def oversize(exchange: Exchange) -> None:
    exchange.change()
    exchange.send("x" * 100_000)


def nonsense(exchange: Exchange) -> None:
    message = exchange.change()
    message["data"]["b"] = [["NaN", 1]]
    exchange.send(message)


def restart(exchange: Exchange) -> None:
    """The venue comes back and counts from 1."""
    exchange.change()
    exchange.restart()


def renumber(exchange: Exchange) -> None:
    """What is behind the venue's gateway comes back and counts from 1, while the connection stands."""
    exchange.sequence = 0
    exchange.send(exchange.change(), exchange.change())


FAULTS = [gap, reorder, cut, rubbish, oversize, nonsense, restart, renumber]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_websocket_when_the_venue_misbehaves_is_right_again_after_a_snapshot(fault, cluster, records, exchange):
    with running(cluster, config(exchange)):
        records.until(lambda: records.ticks(), "the first snapshot")
        assert json.loads(exchange.subscribed[0])["symbols"] == ["NG"]
        exchange.send(exchange.change())
        records.until(lambda: records.ticks()[-1].bid == exchange.best, "an update")
        before = exchange.fetched
        fault(exchange)
        records.until(lambda: records.ticks()[-1].bid == exchange.best and exchange.fetched > before, "after the fault")
        wait_until(lambda: len(exchange.subscribed) == len(exchange.connections))
        exchange.send(exchange.change())
        records.until(lambda: records.ticks()[-1].bid == exchange.best, "the feed goes on")
        both = {("HENRY-HUB", True), ("HENRY-HUB", False)}
        records.until(lambda: both <= {*records.gaps("sequence"), *records.gaps("disconnected")[2:]}, "the gap")
    assert [tick.ask - tick.bid for tick in records.ticks()] == [1.0] * len(records.ticks()), "a book that never was"
    assert len(set(records.ids)) == len(records.ids)


def test_websocket_when_a_message_comes_twice_changes_nothing(cluster, records, exchange):
    with running(cluster, config(exchange)):
        records.until(lambda: records.ticks(), "the first snapshot")
        message = exchange.change()
        exchange.send(message, message, exchange.change())
        records.until(lambda: records.ticks()[-1].bid == exchange.best, "the change after")
    assert len(records.ticks()) == 3
    assert not records.gaps("sequence")


def test_websocket_when_the_venue_says_no_tells_its_words(cluster, records, exchange):
    with running(cluster, config(exchange)):
        records.until(lambda: records.ticks(), "the first snapshot")
        exchange.send({"type": "error", "why": "not entitled"})
        records.until(lambda: any("not entitled" in d.reason for d in records.of(Device)), "the reason")


def test_websocket_when_a_message_is_unknown_keeps_it_for_a_person(cluster, records, exchange):
    with running(cluster, config(exchange)):
        records.until(lambda: records.ticks(), "the first snapshot")
        exchange.send({"type": "surprise"})
        records.until(lambda: records.of(DeadLetter), "the dead letter")
    assert "no message of the settings fits it" in records.of(DeadLetter)[0].reason


def test_websocket_when_the_cable_is_pulled_the_book_is_unknown_until_a_snapshot(cluster, records, exchange, cable):
    line = cable(exchange.port)
    opened, closed = ("HENRY-HUB", True), ("HENRY-HUB", False)
    with running(cluster, config(exchange, url=f"ws://127.0.0.1:{line.address[1]}/feed", heartbeat=1)):
        records.until(lambda: records.ticks(), "the first snapshot")
        line.pull()
        exchange.send(exchange.change(), exchange.change())
        records.until(lambda: records.gaps("disconnected") == [opened, closed, opened], "the gap")
        line.plug()
        records.until(lambda: records.gaps("disconnected")[3:] == [closed], "the end of the gap")
        records.until(lambda: records.ticks()[-1].bid == exchange.best, "the snapshot")
    assert [tick.bid for tick in records.ticks()] == [10.0, exchange.best]


def test_websocket_when_the_venues_clock_jumps_the_book_is_unknown_until_it_is_right_again(cluster, records, exchange):
    paths = {"symbol": "data.sym", "sequence": "data.to", "bids": "data.b", "asks": "data.a", "time": "data.t"}
    settings = config(exchange, messages=[{"kind": "update", "when": {}, **paths}], time_format="us")
    hour = 3_600_000_000
    times: list[int] = []

    def change(jump: int) -> None:
        message = exchange.change()
        times.append(time.time_ns() // 1000 + jump)
        message["data"]["t"] = times[-1]
        exchange.send(message)

    with running(cluster, settings):
        records.until(lambda: records.ticks(), "the first snapshot")
        change(0)
        for count, jump in enumerate((hour, -hour), start=1):
            change(jump)
            records.until(lambda seen=count: len(records.gaps("clock")) == 2 * seen - 1, "the gap")
            change(0)
            records.until(lambda: records.ticks()[-1].bid == exchange.best, "a believable time")
    assert [tick.event_time for tick in records.ticks()[1:]] == [times[0], times[2], times[4]], "none stamped anew"
    assert [is_open for _, is_open in records.gaps("clock")] == [True, False, True, False]


def test_websocket_when_our_clock_is_set_the_connection_lives_on_and_silence_is_measured_as_ever(
    cluster, records, exchange, machine_clock
):
    hour = 3_600_000_000
    with running(cluster, config(exchange, silence=1800)):
        records.until(lambda: records.ticks(), "the first snapshot")
        for jump in (hour, -2 * hour):
            machine_clock.jump(jump)
            machine_clock.until_read(10)
            exchange.send(exchange.change())
            records.until(lambda: records.ticks()[-1].bid == exchange.best, "a change after the jump")
        assert len(exchange.connections) == 1, "half an hour has not passed"
        times = [tick.receive_time for tick in records.ticks()]
    assert times == sorted(set(times)), "receive times never go back"
    with running(cluster, config(exchange, silence=1)):  # our clock stands still now, until it has caught up
        records.until(lambda: len(exchange.connections) > 2, "another connection after a second of silence")
