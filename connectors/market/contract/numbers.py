"""Numbers of a stream, which rise: a message that comes twice is one thing, a venue that counts anew another."""

from __future__ import annotations


class Numbers:
    """What the numbers of one stream have been since it began or was last found wanting."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._again: int | None = None

    def clear(self) -> None:
        """Whatever comes next is believed."""
        self._highest = self._again = None

    def anew(self, sequence: int | None) -> bool:
        """Whether the venue counts anew: two numbers in a row have gone by already, and they rise again.

        One alone is a repeat. Repeats of several in a row look the same; to doubt the book then costs a snapshot.
        """
        before, self._again = self._again, None
        if sequence is None:
            return False
        if self._highest is None or sequence > self._highest:
            self._highest = sequence
            return False
        self._again = sequence
        return before is not None and sequence > before
