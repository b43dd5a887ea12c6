"""What the readers of files have in common. What is broken in a file costs a row, or the rest of that file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One row. ``number``: the line in a text, the row in a table, from 1. ``values``: one for each wanted column.

    A row with a ``problem`` has no values. ``raw``: as it stands in a text.
    """

    number: int
    values: Sequence[Any]
    raw: bytes = b""
    problem: str = ""


class Moment(NamedTuple):
    """A time that is kept as one: microseconds since 1970 in UTC, or if not ``zoned`` on some clock on the wall."""

    micros: int
    zoned: bool


class Unreadable(ValueError):
    """A file cannot be read, or not any further; says where and why."""


def places(wanted: Sequence[str], there: Sequence[str]) -> list[int]:
    """Where the wanted columns stand. Raises Unreadable for one that is missing, or is there twice."""
    for name in wanted:
        if there.count(name) != 1:
            found = ", ".join(repr(one[:80]) for one in there[:50])
            raise Unreadable(f"{there.count(name)} columns are called {name!r}; its columns are {found}")
    return [there.index(name) for name in wanted]
