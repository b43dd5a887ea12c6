"""Why a span cannot be replayed."""

from __future__ import annotations


class Gone(Exception):
    """What a commit was fed, or the state before it, is no longer kept; the text says where and why."""


class TooOld(Gone):
    """The changelog no longer tells the state before a commit.

    ``earliest``: the first commit before which it does, at or after ``time`` (microseconds); None when there is none.
    """

    def __init__(self, text: str, earliest: int | None, time: int) -> None:
        super().__init__(text)
        self.earliest = earliest
        self.time = time
