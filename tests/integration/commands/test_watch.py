from __future__ import annotations

import io
import threading
import time

import pytest
from msgspec import structs
from rich.console import Console

from schemas import topics
from schemas.devices import Device, DeviceState
from streams.commands import follow
from streams.commands.board import Board
from streams.commands.errors import CommandError
from streams.commands.follow import Follower
from streams.commands.watch import draw, watch
from streams.engine.cluster import Cluster
from tests.integration.commands.conftest import SECOND


def fill_until(board: Board, follower: Follower, holds, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout} s: {board.counts}"
        for topic, _, record, _ in follower.read(0.1):
            board.take(topic, record)


def test_follower_when_started_late_knows_positions_and_the_last_decisions(day):
    board = Board()

    with Follower(day.cluster, tail=100) as follower:
        fill_until(board, follower, lambda: board.alerts and board.trades and board.exposures and len(board.ticks) == 1)
        fill_until(board, follower, lambda: ("oil-desk", "WTI") in board.positions)

    out = io.StringIO()
    Console(file=out, width=140, height=45, no_color=True).print(draw(board, day.now, (140, 45)))
    assert "Hard limit breached: oil-gross" in out.getvalue()
    assert "1 320 000" in out.getvalue()


def test_follower_when_tail_is_none_shows_only_what_is_and_what_comes(day):
    board = Board()

    with Follower(day.cluster) as follower:
        fill_until(board, follower, lambda: ("oil-desk", "WTI") in board.positions)
        assert not board.alerts
        day.wind(60.0, 60.0)
        fill_until(board, follower, lambda: len(board.telemetry) == 2)

    assert board.counts["telemetry"] == 2


def test_follower_when_a_compacted_topic_is_long_fills_in_old_keys_without_going_back(cluster, day, monkeypatch):
    monkeypatch.setattr(follow, "RECENT", 5)
    position = day.until(topics.positions, lambda one: one.market_value is not None)
    raw, name = topics.positions.encode(position), cluster.named("positions")
    producer = cluster.publisher()
    for number in range(60):  # the old desk speaks once, long ago; the live one goes on
        book = "old-desk" if number == 0 else "live-desk"
        value = raw.replace(b'"oil-desk"', f'"{book}"'.encode()).replace(b'"fills":1', f'"fills":{number}'.encode())
        producer.produce(name, value, f"{book}|WTI".encode(), 2)
    assert producer.flush(10) == 0
    seen: list[tuple[str, int]] = []

    with Follower(cluster) as follower:
        deadline = time.monotonic() + 20
        while ("old-desk", 0) not in seen and time.monotonic() < deadline:
            seen += [(r.book, r.fills) for topic, _, r, _ in follower.read(0.1) if topic is topics.positions]

    assert ("old-desk", 0) in seen
    live = [fills for book, fills in seen if book == "live-desk"]
    assert live == list(range(55, 60)), "nothing older than what the screen already showed"


def test_follower_when_gridtape_never_ran_here_says_so(kafka):
    with pytest.raises(CommandError, match="has no topic nowhere-alerts"):
        Follower(Cluster(kafka, prefix="nowhere"))


@pytest.mark.parametrize("terminal", [True, False])
def test_watch_when_a_device_goes_has_shown_what_rests_on_it_and_gives_the_screen_back(day, terminal):
    day.now += SECOND
    device = Device(
        device="wind-1",
        connector="opcua",
        protocol="opcua",
        state=DeviceState.LIVE,
        since=day.now,
        started=day.now,
        expires=day.now + 86_400 * SECOND,
        event_time=day.now,
        receive_time=day.now,
    )
    day.put(topics.devices, device.device, device)
    out = io.StringIO()
    console = Console(file=out, width=120, height=40, force_terminal=terminal)
    stop = threading.Event()
    failures: list[BaseException] = []

    def body() -> None:
        try:
            watch(day.cluster, stop, console)
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=body)
    thread.start()
    deadline = time.monotonic() + 30

    def until(*wanted: str) -> None:
        while missing := [one for one in wanted if one not in out.getvalue()]:
            assert time.monotonic() < deadline, f"{missing} not in what was shown last: {out.getvalue()[-4000:]}"
            time.sleep(0.02)

    try:
        until("oil-desk" if terminal else "positions 1", "devices 1 of 1 live")
        down = {"state": DeviceState.DOWN, "reason": "connection refused", "receive_time": day.now + 1}
        day.put(topics.devices, "wind-1", structs.replace(device, **down))
        until("wind-1 down since", "connection refused", "rule wind-short", "gridtape connect check FILE")
    finally:
        day.put(topics.devices, "wind-1", structs.replace(device, receive_time=day.now + 2))
        stop.set()
        thread.join(10)

    assert not thread.is_alive()
    assert not failures
    if terminal:
        assert out.getvalue().rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in out.getvalue()
