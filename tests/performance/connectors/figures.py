"""What an entry of ``make bench-connectors`` measures, and how it runs what must not share its process."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from connectors import metrics
from connectors.connector import Connector
from connectors.publisher import Publisher
from schemas.topics import Topic
from streams.engine.cluster import Cluster

_SECONDS = 600.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Figure(msgspec.Struct, kw_only=True):
    """One measured value. ``least`` or ``most``: what it should reach, or stay below; ``bare``: the library's own."""

    what: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None
    bare: float | None = None

    @property
    def missed(self) -> bool:
        """It is not what it should be."""
        return (self.least is not None and self.value < self.least) or (
            self.most is not None and self.value > self.most
        )


class Cost(NamedTuple):
    """What it took to read. ``rate``: a second; ``busy``: µs of processor time each; ``memory``: MB at most."""

    rate: float
    busy: float
    memory: float


def compared(what: str, each: str, *, taken: Cost, least: float, bare: Cost) -> list[Figure]:
    """The figures of a connector that reads as fast as it can, beside its bare library. ``each``: what is counted."""
    return [
        Figure(what=what, value=taken.rate, unit="/s", least=least, bare=bare.rate),
        Figure(what=f"processor time per {each}", value=taken.busy, unit="µs", bare=bare.busy),
        Figure(what="peak memory of the connector", value=taken.memory, unit="MB"),
    ]


def resident() -> float:
    """MB of memory that this process holds now (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE / 2**20


def peak() -> float:
    """MB of memory that this process has held at most (Linux). getrusage would count what its parent held when it was
    started."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns in a process of its own; its functions must stand at the top of a module."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(work, arguments).get(1800)


def until(counted: Callable[[], float], count: float) -> None:
    """Wait until ``counted`` gives ``count``, looking seldom, because looking takes time from what is measured."""
    deadline = time.monotonic() + _SECONDS
    while counted() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{counted():,.0f} of {count:,.0f} came through within {_SECONDS:g} s")
        time.sleep(0.005)


def paced(counted: Callable[[], float], count: int) -> float:
    """How many a second, from the first that is seen to number ``count``."""
    until(counted, 1)
    began, before = time.perf_counter(), counted()
    until(counted, count)
    return (count - before) / (time.perf_counter() - began)


def counted(begin: Callable[[], None], number: Callable[[], float], count: int) -> Cost:
    """What it costs until ``number`` gives ``count`` after ``begin``."""
    before = time.process_time()
    begin()
    rate = paced(number, count)
    return Cost(rate, (time.process_time() - before) / count * 1e6, peak())


def through(
    cluster: Cluster,
    make: Callable[[Publisher], Connector],
    name: str,
    topic: Topic[Any],
    count: int,
    *,
    once_it_runs: Callable[[], None] = lambda: None,
) -> Cost:
    """Run the connector that ``make`` gives until ``count`` of its records are in ``topic``, acknowledged by Kafka."""
    publisher = Publisher(cluster, name)
    connector = make(publisher)
    stop = threading.Event()
    thread = threading.Thread(target=connector.run, args=(stop,))

    def begin() -> None:
        thread.start()
        once_it_runs()

    try:
        return counted(begin, metrics.PUBLISHED.labels(name, topic.name)._value.get, count)
    finally:
        stop.set()
        thread.join(30)
        publisher.close()


def listens(host: str, port: int) -> None:
    """Wait until somebody accepts connections there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex((host, port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on {host}:{port} after 30 s")


@contextmanager
def beside(work: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """``work`` in a process of its own while the block lasts; it is killed at the end."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join(10)
