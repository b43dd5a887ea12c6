"""One run: set up, carry out the schedule, let it drain, verify."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import structlog
from confluent_kafka import KafkaException

from schemas import topics as house
from streams.commands.quiet import quiet
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.errors import EngineError
from streams.local.service import HOST, free_port
from tests.faults import app, verify
from tests.faults.broker import Broker, ProxyProcess
from tests.faults.crew import CLEAN_LIMIT, Crew
from tests.faults.records import Witness
from tests.faults.schedule import SLOTS, Fault
from tests.faults.source import Source

_DRAIN = 120.0
"""Seconds for the rest to be processed once nothing is broken any more."""
_SETTLED = 0.5
"""Seconds after which a broker that gets no requests has finished its commits."""
_PATIENT = 30.0
"""Seconds that a clean end may take while other things are broken."""


class Run:
    """Broker, proxy, workers, source and live reader of one run."""

    def __init__(self, folder: Path, seed: int, rate: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        proxy_port = free_port()
        self._broker = Broker(folder / "kafka", proxy_port).start()
        self._proxy = ProxyProcess(proxy_port, self._broker.inner_port)
        self._cluster = quiet(Cluster(self._broker.address))
        layout.ensure(self._cluster, app.specs())
        topics = (*(topic.name for topic in app.OUTPUTS), "positions", house.dead_letters.name, house.journal.name)
        self._witness = Witness(self._cluster, topics, watched=app.counts.name)
        self._source = Source(self._cluster, seed, rate)
        self._crew = Crew(f"{HOST}:{proxy_port}", folder)
        self._failed: list[str] = []
        self._busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lines = (folder / "faults.log").open("w", buffering=1)
        self._began = self._ends = 0.0
        self.done: Counter[str] = Counter()
        self._records: dict[str, int] = {}
        self._last_ends: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._crew.close()
        self._proxy.stop()
        self._broker.stop()
        self._lines.close()

    def carry_out(self, plan: list[Fault], seconds: float) -> list[str]:
        """All of it; returns the findings."""
        self._began = time.monotonic()
        self._ends = self._began + seconds
        for slot in range(SLOTS):
            self._crew.keep(slot)
        self._witness.start()
        self._source.start()
        with ThreadPoolExecutor(len(plan) + 1) as pool:
            for fault in plan:
                self._sleep_until(fault.at)
                pool.submit(self._guarded, fault)
            self._sleep_until(seconds)
        drained = self._drain()
        self._witness.finish()
        for slot in range(SLOTS):
            member = self._crew.take_out(slot)
            self._crew.terminate(member, _PATIENT)
            self._last_ends.append(self._crew.clean_ends[-1] if self._crew.clean_ends else 0.0)
        evidence = verify.Evidence.all_of(self._cluster)
        self._records = {name: sum(map(len, log.values())) for name, log in evidence.logs.items()}
        return self._failed + self._crew.findings + drained + verify.everything(evidence, self._witness)

    def summary(self) -> str:
        """Figures of the run."""
        stalls = sorted(self._witness.stalls.values(), reverse=True)
        slowest = max(self._crew.clean_ends, default=0.0)
        return "\n".join(
            [
                "faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(self.done.items())),
                "records: " + ", ".join(f"{topic} {n}" for topic, n in sorted(self._records.items()) if n),
                "longest pause of committed counts: "
                + ", ".join(f"[{s.place[1]}] {s.seconds:.1f} s from {s.began:.1f} s on" for s in stalls),
                f"clean ends: {len(self._crew.clean_ends)}, slowest {slowest:.1f} s; the last ones, with nothing else "
                f"broken, {max(self._last_ends, default=0.0):.1f} s (aim {CLEAN_LIMIT:g} s)",
                f"processes ended by their watchdog: {self._crew.watchdog}, in favour of a twin: {self._crew.gave_way}",
            ]
        )

    # --- faults ------------------------------------------------------------------------------------------------

    def _guarded(self, fault: Fault) -> None:
        try:
            with self._busy[fault.target]:  # a broker takes its time to start, and the next fault waits for it
                if time.monotonic() > self._ends:
                    self._tell(f"left out, since the time is over: {fault}")
                    return
                self._tell(f"{fault}")
                getattr(self, "_" + fault.kind.replace("-", "_"))(fault)
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: it becomes a finding
            self._failed.append(f"the suite itself failed at {fault}: {type(error).__name__}: {error}")
        self.done[fault.kind] += 1
        self._tell(f"  over: {fault.kind} {fault.target}")

    def _kill(self, fault: Fault) -> None:
        member = self._crew.take_out(_slot(fault))
        member.kill()
        self._wait(fault.seconds)
        self._crew.keep(member.slot)

    _abandon = _kill

    def _terminate(self, fault: Fault) -> None:
        member = self._crew.take_out(_slot(fault))
        self._crew.terminate(member, _PATIENT)
        self._wait(fault.seconds)
        self._crew.keep(member.slot)

    def _freeze(self, fault: Fault) -> None:
        member = self._crew.member(_slot(fault))
        member.send(signal.SIGSTOP)
        self._wait(fault.seconds)
        member.send(signal.SIGCONT)

    _zombie = _freeze

    def _twin(self, fault: Fault) -> None:
        """A process is taken for dead, its slot is started elsewhere, and it comes back."""
        self._crew.expect_twins(_slot(fault), fault.seconds + 2.0)
        older = self._crew.take_out(_slot(fault))
        older.send(signal.SIGSTOP)
        self._crew.keep(older.slot)
        self._wait(fault.seconds)
        older.send(signal.SIGCONT)
        self._wait(2.0)  # both at work
        older.kill()

    def _storm(self, fault: Fault) -> None:
        """Guests join and leave, some politely."""
        end = time.monotonic() + fault.seconds
        turn = 0
        while time.monotonic() < end:
            guests = [self._crew.start(SLOTS + n) for n in range(1 + turn % 2)]
            self._wait(min(3.0, fault.seconds / 3))
            for n, guest in enumerate(guests):
                if (turn + n) % 2:
                    guest.kill()
                else:
                    self._crew.terminate(guest, _PATIENT)
            turn += 1

    def _broker_kill(self, fault: Fault) -> None:
        self._broker_away(self._broker.kill, fault.seconds)

    def _broker_restart(self, fault: Fault) -> None:
        self._broker_away(self._broker.stop, fault.seconds)

    def _broker_away(self, end: Callable[[], None], seconds: float) -> None:
        """No commit is under way when the broker goes.

        Apache Kafka 4.3.1 as the only node of its cluster does not keep its word otherwise, neither when it stops (it
        gives its partitions up first) nor after kill -9: a transaction that was being committed is then complete for
        its coordinator and has no marker in some partitions, the committed offsets among them. What an application
        may rely on is gone (see docs/engine.md). The simulator's broker dies in the middle of commits.
        """
        self._proxy.tell(hold=True)
        try:
            self._wait(_SETTLED)
            end()
        finally:
            self._proxy.tell(hold=False)
        self._wait(seconds)
        self._broker.start()

    def _broker_freeze(self, fault: Fault) -> None:
        self._broker.send(signal.SIGSTOP)
        self._wait(fault.seconds)
        self._broker.send(signal.SIGCONT)

    def _cut(self, fault: Fault) -> None:
        self._proxy.tell(cut=fault.share)

    def _delay(self, fault: Fault) -> None:
        self._network(fault, seconds=fault.delay)

    def _mute(self, fault: Fault) -> None:
        self._network(fault)

    _hole = _mute

    def _network(self, fault: Fault, **more: float) -> None:
        self._proxy.tell(mode=fault.kind, share=fault.share, **more)
        self._wait(fault.seconds)
        self._proxy.tell(mode="pass")

    def _poison(self, fault: Fault) -> None:
        self._source.burst()

    # --- time --------------------------------------------------------------------------------------------------

    def _drain(self) -> list[str]:
        """Nothing is broken any more: wait until all is processed and all timers have fired."""
        self._tell("nothing is broken any more; draining")
        if undelivered := self._source.finish(60):
            return [f"source: {undelivered} records could not be delivered"]
        if self._source.failed:
            return [f"source: {self._source.failed}"]
        deadline = time.monotonic() + _DRAIN
        names = [topic.name for topic in (app.hits, app.extras, app.counts, app.closings)]
        left: Any = "not asked yet"
        while time.monotonic() < deadline:
            try:
                left = verify.behind(self._cluster) or verify.timers(verify.Evidence(self._cluster, names))
            except (EngineError, KafkaException, TimeoutError) as error:
                left = error
            if not left:
                self._tell("drained")
                return []
            self._wait(0.5)
        return [f"not drained within {_DRAIN:g} s: {left}"]

    def _sleep_until(self, at: float) -> None:
        self._wait(max(0.0, self._began + at - time.monotonic()))

    @staticmethod
    def _wait(seconds: float) -> None:
        threading.Event().wait(seconds)

    def _tell(self, what: str) -> None:
        line = f"{time.monotonic() - self._began:7.2f} s  {what}"
        print(line, flush=True)
        self._lines.write(line + "\n")


def _slot(fault: Fault) -> int:
    return int(fault.target.split()[1])
