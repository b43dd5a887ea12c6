"""One schedule: a broker, some workers, a source, and an adversary, all from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from streams.engine.errors import Fatal
from streams.engine.worker import Options, Worker
from tests.simulator import application as app
from tests.simulator.adversary import Adversary
from tests.simulator.broker import Broker
from tests.simulator.network import Network, Rates
from tests.simulator.oracle import Finding, Oracle
from tests.simulator.outside import SimCluster, SimStop
from tests.simulator.scheduler import Process, Scheduler
from tests.simulator.source import Source

OPTIONS = Options(
    commit_interval=0.1, quiet_interval=0.01, batch=20, idle_after=1.0, session_timeout=3.0, transaction_timeout=4.0
)
_TROUBLE = 14.0
"""Virtual seconds of source and faults; then everything heals."""
_PATIENCE = 90.0
"""Virtual seconds after which a healed system that is not done has stalled."""


class World:
    """Builds a schedule from ``seed`` and runs it; ``scheduler.trace`` says what happened.

    ``script``: arranges the harm itself, on one worker, instead of rates and adversary.
    """

    def __init__(self, seed: int, script: Callable[[World], None] | None = None) -> None:
        self.seed = seed
        self.scheduler = Scheduler(seed)
        rng = self.rng = self.scheduler.rng
        self.partitions = rng.choice((1, 2, 2, 3))
        self.network = Network(self.scheduler, self._rates())
        self.network.on_crash = self.crash
        self.broker = Broker(self.scheduler, self.network, self.partitions, marker_delay=rng.choice((0.002, 0.05, 1.0)))
        for topic in app.TOPICS:
            self.broker.create(topic, self.partitions)
        self.options = replace(OPTIONS, standbys=rng.choice((0, 0, 1, 2)))
        self.source = Source(self.scheduler, self.broker, self.partitions)
        self.processes: list[tuple[int, Process, SimStop]] = []
        self.slots: list[int] = []
        self._next_slot = 0
        self._calm = False
        self._over = False
        self._findings: list[Finding] = []
        self._script = script
        if script is not None:
            self.network.rates = Rates()
        self.adversary = Adversary(self, idle=script is not None)

    def _rates(self) -> Rates:
        """Each schedule has some kinds of fault and not others: many small worlds find more than one with all."""
        rng = self.scheduler.rng

        def rate(most: float) -> float:
            return most * rng.random() if rng.random() < 0.5 else 0.0

        return Rates(rate(0.08), rate(0.08), rate(0.08), rate(0.03), rate(0.03), rate(0.15), rate(0.01))

    # --- the course of it --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Finding; the trace then ends with what was found."""
        try:
            with _noting(self.scheduler):
                self._run()
        finally:
            for _, process, _ in self.processes:
                process.kill()

    def _run(self) -> None:
        clock, rng = self.scheduler, self.rng
        for _ in range(1 if self._script else rng.choice((1, 2, 2, 3))):
            self.grow()
        if self._script:
            self._script(self)
        clock.at(0.0, self.source.feed)
        clock.at(0.5, self.adversary.act)
        clock.at(0.1, self._supervise)
        clock.run(_TROUBLE, lambda: bool(self._findings))
        self._calm = self.source.dry = self.adversary.idle = True
        self.network.heal()
        clock.note("world", "heals")
        healed = clock.now
        self._until(self._done, "what was sent is not decided", _PATIENCE)
        clock.note("world", "is done", round(clock.now - healed, 1))
        self._over = True
        for _, process, stop in self.processes:
            if not process.ended:
                stop.set()
        self._until(lambda: all(p.ended for _, p, _ in self.processes), "a worker does not stop", 30.0)
        self._until(self._decided, "a transaction stays open", 30.0)
        Oracle(self.broker, self.partitions, self.source.sent).check()

    def _until(self, holds: Callable[[], bool], otherwise: str, patience: float) -> None:
        """Let things happen until ``holds``, looked at now and then."""
        limit = self.scheduler.now + patience
        while not self._findings and not holds():
            if self.scheduler.now >= limit:
                raise Finding(f"{otherwise} {patience:g} s after everything was healed")
            mark = self.scheduler.now + 0.25
            self.scheduler.at(0.25, lambda: None)
            self.scheduler.run(mark, lambda: bool(self._findings))
        if self._findings:
            raise self._findings[0]

    def _done(self) -> bool:
        if self.source.undecided or not self._decided():
            return False
        offsets = self.broker.group.offsets
        factors = [  # a partition without anything else has these to read all the same
            (app.factors.name, partition, entry.offset)
            for partition in range(self.partitions)
            for entry in self.broker.logs[app.factors.name, partition].entries
            if entry.control is None
        ]
        for topic, partition, offset in (*self.source.sent, *factors):
            if offsets.get((topic, partition), (0, None))[0] <= offset:
                return False
        fired = sum(
            entry.control is None and self.broker.decided.get((entry.pid[0], entry.transaction), False)
            for partition in range(self.partitions)
            for entry in self.broker.logs[app.alarms.name, partition].entries
        )
        due = sum(hit is not None and hit.wake > 0 and hit.amount != app.BROKEN for hit in self.source.sent.values())
        return fired >= due

    def _decided(self) -> bool:
        return all(t.state not in ("ongoing", "prepared") for t in self.broker.transactions.values())

    # --- workers -----------------------------------------------------------------------------------------------

    def start(self, slot: int) -> None:
        """A process that runs a slot."""

        def body(process: Process) -> None:
            cluster = SimCluster(process, self.network, self.broker)
            worker = Worker(
                cluster, app.Tallying, app.Words(), partitions=self.partitions, slot=slot, options=self.options
            )
            worker.run(stop)

        self.scheduler.note("world", "starts slot", slot)
        process = Process(self.scheduler, f"w{slot}.{len(self.processes)}", body)
        stop = SimStop(process)
        self.processes.append((slot, process, stop))

    def grow(self) -> None:
        """One worker more, up to three."""
        if len(self.slots) < 3:
            self.slots.append(self._next_slot)
            self.start(self._next_slot)
            self._next_slot += 1

    def crash(self, process: Process) -> None:
        """Kill a process."""
        self.scheduler.note(process.name, "is killed")
        process.kill()

    def _supervise(self) -> None:
        """Start anew what has ended, and judge why it has."""
        for _, process, _ in self.processes:
            if process.error is not None:
                error, process.error = process.error, None
                self.scheduler.note(process.name, "stopped", f"{type(error).__name__}: {error}")
                if not (isinstance(error, Fatal) and "another process runs slot" in str(error)):
                    finding = Finding(f"{process.name} stopped: {type(error).__name__}: {error}")
                    finding.__cause__ = error
                    self._findings.append(finding)
        alive = {slot for slot, process, _ in self.processes if not process.ended}
        for slot in list(self.slots):
            if slot not in alive and not self._over and (self._calm or self._script or self.rng.random() < 0.1):
                if not (self._calm or self._script) and self.rng.random() < 0.2:
                    self.slots.remove(slot)  # its static member stays until its session is over
                    self.grow()
                else:
                    self.start(slot)
        self.scheduler.at(0.2, self._supervise)


@contextmanager
def _noting(scheduler: Scheduler) -> Iterator[None]:
    """What the engine logs goes into the trace."""

    def note(_: Any, __: str, event: dict[str, Any]) -> Any:
        scheduler.note("log", str(event.pop("event")), event)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[note], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
