"""The limits of each book, gathered from the broadcast topic; shared by what watches them and what obeys them.

The last one written wins, whatever its version: a compacted topic keeps no other, so a task that starts later must
come to the same state.
"""

from __future__ import annotations

import msgspec

from processors.processor import Table
from schemas.base import Coordinates
from schemas.limits import Limit


class Placed(msgspec.Struct, frozen=True, gc=False):
    """A limit and where it was read."""

    limit: Limit
    at: Coordinates


Placings = dict[str, Placed]
"""Limit id to limit, of one book, ids in order."""


def replace(of_book: Table[Placings], book_of: Table[str], placed: Placed) -> Limit | None:
    """Take a limit as read from the topic into the tables; return the one it replaces. It may change its book."""
    limit = placed.limit
    home = book_of.get(limit.limit_id)
    old: Limit | None = None
    if home is not None:
        before = of_book.get(home) or {}
        old = before[limit.limit_id].limit if limit.limit_id in before else None
        if home != limit.book:
            of_book.put(home, {name: kept for name, kept in before.items() if name != limit.limit_id})
    present = of_book.get(limit.book) or {}
    of_book.put(limit.book, dict(sorted({**present, limit.limit_id: placed}.items())))
    book_of.put(limit.limit_id, limit.book)
    return old
