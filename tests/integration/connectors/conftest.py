"""What tests of the field connectors share: a running connector, and all that it has written to Kafka."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from connectors.connector import Connector
from connectors.publisher import Publisher
from schemas import topics
from schemas.dead_letters import DeadLetter
from schemas.gaps import Gap
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster

Running = Callable[[Callable[[Publisher], Connector]], AbstractContextManager[None]]


class Tape:
    """Reads what reaches Kafka, and waits for what a test expects."""

    def __init__(self, cluster: Cluster) -> None:
        self._decode = {cluster.named(t.name): t.decode for t in (topics.telemetry, topics.gaps, topics.dead_letters)}
        self._consumer = cluster.reader("tape")
        self._consumer.subscribe(list(self._decode))
        self.records: list[Telemetry | Gap | DeadLetter] = []
        self.ids: list[str] = []

    def close(self) -> None:
        self._consumer.close()

    def read(self, seconds: float = 0.1) -> None:
        for message in self._consumer.consume(500, seconds):
            assert message.error() is None, message.error()
            self.records.append(self._decode[message.topic()](message.value()))
            self.ids.append(dict(message.headers())["ce_id"].decode())

    def samples(self, point: str, device: str | None = None) -> list[Telemetry]:
        return [r for r in self.records if isinstance(r, Telemetry) and r.point == point and device in (None, r.device)]

    def gaps(self, reason: str | None = None, device: str | None = None) -> list[Gap]:
        return [
            r for r in self.records if isinstance(r, Gap) and reason in (None, r.reason) and device in (None, r.key)
        ]

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
def tape(cluster: Cluster) -> Iterator[Tape]:
    tape = Tape(cluster)
    yield tape
    tape.close()


@pytest.fixture
def running(cluster: Cluster) -> Running:
    """Runs a connector in a thread while the block lasts, and expects it to stop soon and without an error."""

    @contextmanager
    def run(make: Callable[[Publisher], Connector]) -> Iterator[None]:
        publisher = Publisher(cluster, "test")
        connector = make(publisher)
        stop = threading.Event()
        errors: list[BaseException] = []

        def body() -> None:
            try:
                connector.run(stop)
            except BaseException as error:
                errors.append(error)
                raise

        thread = threading.Thread(target=body, name=connector.name)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)
            publisher.close()
        assert not thread.is_alive(), "the connector did not stop"
        assert not errors

    return run


@pytest.fixture
def free_port() -> int:
    """A TCP port that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
