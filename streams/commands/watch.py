"""``gridtape watch``: the live view. The demonstration shows the same one."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from streams.commands.board import Board
from streams.commands.device_panel import News
from streams.commands.fleet import survey
from streams.commands.follow import Follower
from streams.commands.screen import draw, plain_line
from streams.engine.cluster import Cluster

__all__ = ["Board", "Lines", "draw", "save_svg", "watch"]

FRAMES = 4
"""Drawings a second."""
TAIL = 200
"""Records per partition from before the start, so that a quiet feed is not an empty screen."""


def watch(cluster: Cluster, stop: threading.Event, console: Console) -> None:
    """Show the live view until ``stop``; where there is no terminal a line a second, and one when a device changes.

    Raises EngineError when Kafka does not answer, CommandError when it has no topics of gridtape.
    """
    board = Board()
    with Follower(cluster, tail=TAIL) as follower:
        if not console.is_terminal:
            lines = Lines(board)
            while not stop.is_set():
                for topic, _, record, _ in follower.during(1.0, stop):
                    board.take(topic, record)
                for line in lines.now(time.time_ns() // 1000):
                    console.print(line, soft_wrap=True, highlight=False, markup=False)
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while not stop.is_set():
                for topic, _, record, _ in follower.during(1 / FRAMES, stop):
                    board.take(topic, record)
                live.update(draw(board, time.time_ns() // 1000, (console.width, console.height)), refresh=True)


class Lines:
    """The view as lines of text, for a log."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._news = News()

    def now(self, now: int) -> list[str]:
        """What has changed among the devices, then all in one line. ``now`` in microseconds."""
        fleet = survey(self._board, now)
        return [*self._news.of(fleet, now), plain_line(self._board, fleet)]


def save_svg(board: Board, path: Path, *, now: int | None = None, size: tuple[int, int] = (140, 45)) -> None:
    """Write what the screen shows as SVG; ``size`` in columns and lines, ``now`` in microseconds (default: the clock).

    Raises OSError when the file cannot be written.
    """
    width, height = size
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=width, height=height, file=nowhere, force_terminal=True)
        console.print(draw(board, time.time_ns() // 1000 if now is None else now, size))
    drawing = console.export_svg(title="gridtape watch", unique_id="gridtape-watch")
    # rich names a web font; a picture must not fetch anything, and its letters are placed by width anyway
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawing, flags=re.DOTALL))
