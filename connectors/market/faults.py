"""Faults on request: messages lost, repeated and swapped on their way, so that the handling of gaps shows.

Pure: the same seed gives the same faults.
"""

from __future__ import annotations

import random
from typing import Generic, TypeVar

M = TypeVar("M")


class Line(Generic[M]):
    """A bad line for one feed. The rates are probabilities per message; together they are at most 1."""

    def __init__(self, rng: random.Random, *, delete: float = 0.0, duplicate: float = 0.0, swap: float = 0.0) -> None:
        if min(delete, duplicate, swap) < 0 or not delete + duplicate + swap <= 1:
            raise ValueError(
                f"delete {delete}, duplicate {duplicate} and swap {swap} must be at least 0, together at most 1"
            )
        self._random = rng.random
        self._deleted = delete
        self._duplicated = delete + duplicate
        self._swapped = delete + duplicate + swap
        self._held: list[M] = []

    def send(self, message: M) -> list[M]:
        """What arrives now: nothing, the message, twice the message, or the message and then the one held before."""
        if self._swapped == 0.0:
            return [message]
        draw = self._random()
        if draw < self._deleted:
            return []
        if draw < self._duplicated:
            return [message, message, *self._release()]
        if draw < self._swapped and not self._held:
            self._held.append(message)
            return []
        return [message, *self._release()]

    def _release(self) -> list[M]:
        held, self._held = self._held, []
        return held

    def end(self) -> list[M]:
        """What was still held when the feed ended."""
        return self._release()
