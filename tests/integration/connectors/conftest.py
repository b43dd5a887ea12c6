"""What tests of the field connectors share: a running connector, and all that it has written to Kafka."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors import clock
from connectors.connector import Connector
from connectors.publisher import Publisher
from schemas.dead_letters import DeadLetter
from schemas.devices import Device
from schemas.events import Event
from schemas.gaps import Gap
from schemas.telemetry import Telemetry
from schemas.topics import Topic
from streams.engine.cluster import Cluster
from streams.local.kafka import Kafka
from streams.pipeline import CONNECTORS
from tests.conftest import wait_until
from tests.integration.connectors.running import running as run_connector

Running = Callable[..., AbstractContextManager[None]]
Process = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]


class Tape:
    """Reads what reaches Kafka, and waits for what a test expects."""

    def __init__(self, cluster: Cluster, read: Iterable[Topic[Any]]) -> None:
        self._decode = {cluster.named(t.name): t.decode for t in read}
        self._consumer = cluster.reader("tape")
        self._consumer.subscribe(list(self._decode))
        self.records: list[Telemetry | Event | Gap | DeadLetter] = []
        self.ids: list[str] = []
        self.devices: list[Device] = []

    def close(self) -> None:
        self._consumer.close()

    def read(self, seconds: float = 0.1) -> None:
        for message in self._consumer.consume(500, seconds):
            assert message.error() is None, message.error()
            record = self._decode[message.topic()](message.value())
            if isinstance(record, Device):
                self.devices.append(record)
                continue
            self.records.append(record)
            self.ids.append(dict(message.headers())["ce_id"].decode())

    def samples(self, point: str, device: str | None = None) -> list[Telemetry]:
        return [r for r in self.records if isinstance(r, Telemetry) and r.point == point and device in (None, r.device)]

    def gaps(self, reason: str | None = None, device: str | None = None) -> list[Gap]:
        return [
            r for r in self.records if isinstance(r, Gap) and reason in (None, r.reason) and device in (None, r.key)
        ]

    def events(self) -> list[Event]:
        return [r for r in self.records if isinstance(r, Event)]

    def state(self, device: str) -> str | None:
        """How the device stands by its newest status."""
        return next((one.state.value for one in reversed(self.devices) if one.device == device), None)

    def letters(self) -> list[DeadLetter]:
        return [r for r in self.records if isinstance(r, DeadLetter)]

    def until(self, holds: Callable[[], object], what: str, timeout: float = 20.0) -> None:
        """Read until ``holds``; fail naming ``what`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {timeout} s; the last records are {self.records[-5:]}")
            self.read()


@pytest.fixture
def wanted() -> tuple[Topic, ...]:
    """What devices write; the market's connectors have their own."""
    return CONNECTORS["mqtt"]


@pytest.fixture
def tape(cluster: Cluster, wanted: Iterable[Topic[Any]]) -> Iterator[Tape]:
    tape = Tape(cluster, wanted)
    yield tape
    tape.close()


@pytest.fixture
def running(cluster: Cluster) -> Running:
    """As :func:`tests.integration.connectors.running.running`; ``own``: the test's own way to Kafka."""

    def run(make: Callable[[Publisher], Connector], own: Publisher | None = None) -> AbstractContextManager[None]:
        return run_connector(make, own or Publisher(cluster, "test"))

    return run


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """Runs `gridtape run connectors` in a process of its own while the block lasts, which ends it with kill -9."""

    @contextmanager
    def run(settings: str, kafka: str, *, prefix: str = "", partitions: int = 4) -> Iterator[subprocess.Popen[bytes]]:
        config = tmp_path / "connectors.toml"
        config.write_text(settings, encoding="utf-8")
        given = {"KAFKA": kafka, "DATA_DIR": str(tmp_path), "TOPIC_PREFIX": prefix, "PARTITIONS": str(partitions)}
        env = {**os.environ, **{f"GRIDTAPE_{name}": value for name, value in given.items()}}
        command = [sys.executable, "-m", "streams.cli", "run", "connectors", "--config", str(config)]
        with (tmp_path / "connector.log").open("ab") as log:
            one = subprocess.Popen(command, env=env, stderr=log)
        try:
            yield one
        finally:
            one.kill()
            one.wait(10)

    return run


class Cable:
    """A TCP connection's way to a port on this machine, which can be pulled: no byte passes, and no farewell either."""

    def __init__(self, port: int) -> None:
        self._far = ("127.0.0.1", port)
        self._plugged = threading.Event()
        self._plugged.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", int(self._listener.getsockname()[1]))
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self._plugged.clear()

    def plug(self) -> None:
        """What was on its way arrives now, farewells of ends that are gone included."""
        self._plugged.set()

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._plugged.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        with suppress(OSError):
            self._plugged.wait()
            far = socket.create_connection(self._far)
            self._sockets.append(far)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError), one, other:
            while data := one.recv(65_536):
                self._plugged.wait()
                other.sendall(data)
            self._plugged.wait()


@pytest.fixture
def cable() -> Iterator[Callable[[int], Cable]]:
    """Cables to ports on this machine."""
    with ExitStack() as stack:

        def lay(port: int) -> Cable:
            one = Cable(port)
            stack.callback(one.close)
            return one

        yield lay


class LateKafka:
    """An address at which Kafka is away until :meth:`come`: then a forwarder to the real one listens there."""

    def __init__(self, real: str) -> None:
        host, _, port = real.rpartition(":")
        self._real = (host, int(port))
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def come(self) -> None:
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inside, _ = self._listener.accept()
                outside = socket.create_connection(self._real)
                for one, other in ((inside, outside), (outside, inside)):
                    threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError), one, other:
            while data := one.recv(65_536):
                other.sendall(data)


@pytest.fixture
def late_kafka(kafka: str) -> Iterator[LateKafka]:
    late = LateKafka(kafka)
    yield late
    late.close()


@contextmanager
def frozen(broker: Kafka) -> Iterator[None]:
    """A Kafka of the test's own stands still while the block lasts, with its connections open."""
    group = json.loads((broker.folder / "kafka.json").read_text())["pid"]  # of the broker and of what guards it
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


class MachineClock:
    """This machine's time of day as connectors see it, which a test may set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0
        self._reads = 0
        machine = SimpleNamespace(time_ns=self._read, monotonic_ns=time.monotonic_ns)
        monkeypatch.setattr(clock, "time", machine)
        monkeypatch.setattr(clock, "_latest", 0)

    def jump(self, micros: int) -> None:
        self._ahead += micros

    def until_read(self, times: int) -> None:
        """Wait until the connectors have looked at it so many times more."""
        enough = self._reads + times
        wait_until(lambda: self._reads >= enough)

    def _read(self) -> int:
        self._reads += 1
        return time.time_ns() + self._ahead * 1000


@pytest.fixture
def machine_clock(monkeypatch: pytest.MonkeyPatch) -> MachineClock:
    return MachineClock(monkeypatch)
