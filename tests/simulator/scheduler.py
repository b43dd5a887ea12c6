"""Virtual time: processes as greenlets, events in a heap, every choice from one seeded source.

Nothing here waits for a real clock, and nothing runs in parallel: whatever a seed did once it does again. A process
gives way only in :meth:`Process.wait`, so each of those is a place at which it can be killed or stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush

from greenlet import GreenletExit, greenlet


class Scheduler:
    """The hub. ``now``: virtual seconds since the beginning. ``trace``: what happened, in order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.trace: list[tuple[float, str, str, tuple[object, ...]]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._hub = greenlet.getcurrent()

    def note(self, who: str, what: str, *details: object) -> None:
        """Remember what happened; formatted only when somebody asks."""
        self.trace.append((self.now, who, what, details))

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Do something ``delay`` seconds from now."""
        self._count += 1
        heappush(self._events, (self.now + delay, self._count, action))

    def run(self, until: float, done: Callable[[], bool]) -> bool:
        """Let things happen until ``done`` or the time is over; whether it is done."""
        while self._events and self._events[0][0] <= until:
            if done():
                return True
            self.now, _, action = heappop(self._events)
            action()
        return done()


class Process:
    """One operating system process: its main thread is a greenlet, its background threads are events.

    ``skew``: how far its wall clock has jumped, seconds.
    """

    def __init__(self, scheduler: Scheduler, name: str, body: Callable[[Process], None]) -> None:
        self.scheduler = scheduler
        self.name = name
        self.dead = False
        self.ended = False
        self.error: BaseException | None = None
        self.skew = 0.0
        self._stopped_until = 0.0
        self._turn = 0
        self._body = body
        self._greenlet = greenlet(self._run, scheduler._hub)
        scheduler.at(0.0, self._greenlet.switch)

    def _run(self) -> None:
        try:
            self.check()
            self._body(self)
        except GreenletExit:
            pass
        except Exception as error:  # noqa: BLE001 - the process's outermost edge: judged by whoever started it
            self.error = error
        self.ended = True

    @property
    def stopped(self) -> bool:
        """Whether it stands still now, as under SIGSTOP."""
        return self._stopped_until > self.scheduler.now

    def check(self) -> None:
        """A dead process does nothing more, whatever its ``finally`` clauses try."""
        if self.dead:
            raise GreenletExit

    def kill(self) -> None:
        """As kill -9 does: at once, wherever it is. What it has sent is on its way."""
        if self.ended:
            return
        self.dead = True
        if greenlet.getcurrent() is self._greenlet:
            raise GreenletExit
        self._greenlet.throw(GreenletExit)

    def stop(self, seconds: float) -> None:
        """As SIGSTOP does, with SIGCONT ``seconds`` later; the background threads stand still as well."""
        self._stopped_until = max(self._stopped_until, self.scheduler.now + seconds)

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Do something in a background thread of this process: not when it is dead, later when it stands still."""

        def run() -> None:
            if self.dead or self.ended:
                return
            if self.stopped:
                self.scheduler.at(self._stopped_until - self.scheduler.now, run)
            else:
                action()

        self.scheduler.at(delay, run)

    def wait(self, seconds: float) -> None:
        """Give way for so long, or until :meth:`wake`."""
        self.check()
        self._turn += 1
        turn = self._turn
        self.at(seconds, lambda: self._resume(turn))
        self.scheduler._hub.switch()
        self.check()

    def wake(self) -> None:
        """End what it waits for now, soon."""
        turn = self._turn
        self.at(self.scheduler.rng.random() * 1e-4, lambda: self._resume(turn))

    def _resume(self, turn: int) -> None:
        if turn == self._turn and not self.ended:
            self._turn += 1
            self._greenlet.switch()
