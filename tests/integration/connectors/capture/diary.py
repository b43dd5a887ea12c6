"""Recording beside the real counterpart and playing without it, for the tests of every protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from connectors.capture.addresses import redirected
from connectors.capture.frames import read
from connectors.capture.player import Player
from connectors.capture.rehearsal import Notebook, apart, rehearse
from connectors.config import load
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.commands import connect
from tests.conftest import wait_until


class Diary(Notebook):
    """A notebook that forgets no value, with the ids of those that the source gives."""

    def __init__(self, *, played: bool = False) -> None:
        super().__init__(played=played)
        self.history: list[tuple[Any, ...]] = []

    def publish(self, topic, key, record, *, event_id, **more):
        with self._lock:
            if isinstance(record, Telemetry) and not record.reason.startswith("stale"):
                one = record
                self.history.append((event_id, one.value, one.event_time, one.quality, one.reason))
            elif isinstance(record, Tick):
                one = record
                self.history.append((key, one.bid, one.ask, one.last, one.size, one.sequence, one.event_time))
        super().publish(topic, key, record, event_id=event_id, **more)


def played(tape: Path, file: Path) -> Diary:
    """All that comes of a recording, which must be played to its end."""
    player, found = Player(read(tape)[1]), Diary()
    there = redirected(apart(load(file))[0], player.place, played=True)
    assert not rehearse(there, found, lambda: player.finished, 30, threading.Event())
    player.close()
    assert not player.differences, player.differences
    assert player.finished
    return found


def captured(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, enough: Callable[[Diary], bool]) -> Diary:
    """Record what the settings connect to, as the command does, until it is enough."""
    (folder / "c.toml").write_text(text)
    found, stop = Diary(), threading.Event()
    monkeypatch.setattr(connect, "Notebook", lambda: found)
    page = Console(record=True, width=200)
    outcome: list[bool] = []
    command = threading.Thread(
        target=lambda: outcome.append(connect.capture(folder / "c.toml", folder / "tape.jsonl", 30, stop, page))
    )
    command.start()
    try:
        wait_until(lambda: enough(found))
    finally:
        stop.set()
        command.join(20)
    assert outcome == [True], page.export_text()
    return found


def assert_same(then: Diary, now: Diary, least: int) -> None:
    """The same in the same order. The last that came may be on one side only, where recording and notes end."""
    both = min(len(then.history), len(now.history))
    assert both >= least
    assert now.history[:both] == then.history[:both]
    assert abs(len(then.history) - len(now.history)) <= 5
