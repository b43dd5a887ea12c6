"""What is missing of each point between two sessions, so that it can be asked of the server's history. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_MOST = 16  # holes of one point that wait to be filled; the oldest is given up


@dataclass(frozen=True, slots=True)
class Hole:
    """Values of ``point`` with a source time (microseconds) between ``after`` and ``before``, both exclusive."""

    point: str
    after: int
    before: int


class Holes:
    """Remembers the newest source time of every point over any number of sessions with one server.

    ``reach``: how far before the first value of a new session history is asked for (microseconds).
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._newest: dict[str, int] = {}
        self._broken: set[str] = set()
        self._waiting: dict[str, deque[Hole]] = {}

    def interrupted(self) -> None:
        """The session has ended: what comes next of any point may follow a hole."""
        self._broken.update(self._newest)

    def seen(self, point: str, time: int) -> None:
        """A live value has come, with its source time."""
        newest = self._newest.get(point)
        if point in self._broken:
            self._broken.discard(point)
            if newest is not None and time - newest > 1:
                hole = Hole(point, max(newest, time - self._reach), time)
                self._waiting.setdefault(point, deque(maxlen=_MOST)).append(hole)
        if newest is None or time > newest:
            self._newest[point] = time

    def next(self) -> Hole | None:
        """One of the holes that wait to be filled; those of one point in the order of time."""
        for holes in self._waiting.values():
            return holes[0]
        return None

    def filled(self, hole: Hole, upto: int | None = None) -> None:
        """``hole`` needs no further asking; ``upto``: only as far as this source time, and the rest still waits."""
        holes = self._waiting[hole.point]
        if upto is None:
            holes.remove(hole)
        else:
            holes[holes.index(hole)] = Hole(hole.point, upto, hole.before)
        if not holes:
            del self._waiting[hole.point]
