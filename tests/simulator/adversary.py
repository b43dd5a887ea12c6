"""What happens to workers and broker from outside, beside the fate of single requests (``network``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulator import application as app

if TYPE_CHECKING:
    from tests.simulator.outside import SimStop
    from tests.simulator.scheduler import Process
    from tests.simulator.world import World

_NODES = ("txn", "group", "offsets", "leader")


class Adversary:
    """Does one thing now and then, of those that it is given to in this world, unless ``idle``."""

    def __init__(self, world: World, *, idle: bool) -> None:
        self._world = world
        self._rng = world.rng
        self.idle = idle
        acts = (
            self.kill,
            self.terminate,
            self._freeze,
            self._twin,
            self._take_away,
            self._put_forward,
            self._compact,
            world.grow,
            self._shrink,
        )
        self._acts: list[Callable[[], None]] = [act for act in acts if self._rng.random() < 0.6]

    def act(self) -> None:
        """One act now, and another later."""
        if self.idle:
            return
        if self._acts:
            self._rng.choice(self._acts)()
        self._world.scheduler.at(0.2 + self._rng.random() * 2.5, self.act)

    def kill(self) -> None:
        """Kill a worker, whichever."""
        if victim := self._victim():
            self._world.crash(victim[1])

    def _victim(self) -> tuple[int, Process, SimStop] | None:
        alive = [entry for entry in self._world.processes if not entry[1].ended]
        return self._rng.choice(alive) if alive else None

    def _note(self, what: str, *details: object) -> None:
        self._world.scheduler.note("world", what, *details)

    def terminate(self) -> None:
        """Ask a worker to stop, whichever."""
        if victim := self._victim():
            self._note("terminates", victim[1].name)
            victim[2].set()

    def _shrink(self) -> None:
        slots = self._world.slots
        if len(slots) > 1:
            slot = self._rng.choice(slots)
            slots.remove(slot)
            self._note("does without slot", slot)
            for other, process, stop in self._world.processes:
                if other == slot and not process.ended:
                    stop.set()

    def _freeze(self) -> None:
        if victim := self._victim():
            seconds = self._rng.choice((0.5, 2.0, 3.5, 5.0, 8.0))
            self._note("stops", victim[1].name, seconds)
            victim[1].stop(seconds)

    def _twin(self) -> None:
        if victim := self._victim():
            self._note("starts a twin of", victim[1].name)
            if self._rng.random() < 0.7:
                victim[1].stop(self._rng.choice((2.0, 5.0, 8.0)))
            self._world.start(victim[0])

    def _take_away(self) -> None:
        node, seconds = self._rng.choice(_NODES), self._rng.choice((0.3, 1.5, 4.5, 7.0))
        stopped = self._rng.random() < 0.6
        self._note("stops the node" if stopped else "takes away the node", node, seconds)
        self._world.network.take_away(node, seconds, stopped=stopped)

    def _put_forward(self) -> None:
        if victim := self._victim():
            victim[1].skew += self._rng.choice((0.5, 5.0, 3600.0))
            self._note("puts forward the clock of", victim[1].name, victim[1].skew)

    def _compact(self) -> None:
        for partition in range(self._world.partitions):
            self._world.broker.logs[app.CHANGELOG, partition].compact()
