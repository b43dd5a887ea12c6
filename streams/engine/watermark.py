"""How far event time has come in one task: the least of its active inputs. Kept in the state, so a restart goes on."""

from __future__ import annotations

from collections.abc import Iterable

from streams.engine.state import Table


class Watermark:
    """Event times of a task's inputs (broadcast ones have none), which of them are idle, and the watermark itself.

    Times in microseconds; 0 before the first record. The watermark never goes back.
    """

    def __init__(self, inputs: Iterable[str], table: Table[int]) -> None:
        self._table = table
        self._times: dict[str, int] = dict.fromkeys(inputs, 0)
        self._idle: set[str] = set()
        self.now = 0

    @property
    def newest(self) -> int:
        """The newest event time of any input."""
        return max(self._times.values(), default=0)

    def advance(self, name: str, event_time: int) -> None:
        """A record of input ``name`` with this time was processed."""
        known = self._times.get(name)
        if known is None:
            return
        self._idle.discard(name)
        if event_time > known:
            self._times[name] = event_time
        self._move()

    def idle(self, name: str) -> bool:
        """Input ``name`` has fallen silent; whether that is new and anybody else may now go ahead."""
        if name not in self._times or name in self._idle or len(self._times) == 1:
            return False
        self._idle.add(name)
        self._move()
        return True

    def save(self) -> None:
        """Put what has changed into the table, to be committed with everything else."""
        marks = {"watermark": self.now}
        for name, time in self._times.items():
            marks[f"time/{name}"] = time
            marks[f"idle/{name}"] = int(name in self._idle)
        for key, value in marks.items():
            if (self._table.get(key) or 0) != value:
                self._table.put(key, value)

    def load(self) -> None:
        """Take the committed numbers: after a restore, and after an abort."""
        get = self._table.get
        self.now = get("watermark") or 0
        self._times = {name: get(f"time/{name}") or 0 for name in self._times}
        self._idle = {name for name in self._times if get(f"idle/{name}")}

    def _move(self) -> None:
        active = [time for name, time in self._times.items() if name not in self._idle]
        if active and min(active) > self.now:
            self.now = min(active)
