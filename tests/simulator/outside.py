"""The engine's outside (streams.engine.outside) in virtual time, for one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulator.admin import SimAdmin
from tests.simulator.broker import Broker
from tests.simulator.consumer import SimConsumer
from tests.simulator.network import Network
from tests.simulator.producer import Hanging, SimProducer
from tests.simulator.scheduler import Process

EPOCH = 1_700_000_000
"""Wall clock at virtual time 0, seconds."""


class SimClock:
    """A process's clocks. The wall clock may jump, the other one only goes on."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def monotonic(self) -> float:
        return self._process.scheduler.now

    def time_ns(self) -> int:
        return int((EPOCH + self._process.scheduler.now + self._process.skew) * 1e6) * 1000

    def sleep(self, seconds: float) -> None:
        self._process.wait(seconds)


class SimHelper:
    """Makes a call that may hang, and gives it up in time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def run(self, call: Callable[[], Any], timeout: float) -> Any:
        clock = self._process.scheduler
        deadline = clock.now + timeout
        try:
            return call()
        except Hanging:
            while clock.now < deadline:
                self._process.wait(deadline - clock.now)
            raise TimeoutError from None

    def close(self) -> None:
        """Nothing to let go of."""


class SimStop:
    """What SIGTERM sets."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._process.wake()

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._process.wait(timeout or 0.0)
        return self._set


class SimCluster:
    """``streams.engine.cluster.Cluster`` of one process."""

    def __init__(self, process: Process, network: Network, broker: Broker) -> None:
        self._outside = (process, network, broker)
        self.clock = SimClock(process)

    def named(self, name: str) -> str:
        return name

    def reader(self, group: str, **extra: Any) -> SimConsumer:
        return SimConsumer(*self._outside, extra)

    def publisher(self, topic: str = "", **extra: Any) -> SimProducer:
        return SimProducer(*self._outside, extra)

    def admin(self) -> SimAdmin:
        return SimAdmin(*self._outside)

    def helper(self, name: str) -> SimHelper:
        return SimHelper(self._outside[0])
