"""What tests of the watch share: gaps, and the screen as lines of text."""

from __future__ import annotations

import io
from typing import Any

from msgspec import structs
from rich.console import Console

from schemas.gaps import Feed, Gap, GapReason
from streams.commands.board import Board
from streams.commands.watch import draw


def opened(feed: Feed, key: str, reason: GapReason, at: int, **other: Any) -> Gap:
    """A gap that opened at ``at``, microseconds."""
    found = Gap(gap_id="g", feed=feed, key=key, reason=reason, open=True, event_time=at, receive_time=at)
    return structs.replace(found, **other)


def shown(board: Board, now: int, size: tuple[int, int]) -> list[str]:
    """The screen of ``size`` = columns, lines at ``now``, microseconds."""
    out = io.StringIO()
    Console(file=out, width=size[0], height=size[1], no_color=True).print(draw(board, now, size))
    return out.getvalue().splitlines()
