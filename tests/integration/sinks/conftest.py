"""What tests of the sinks share: writing records as processors do, and running sinks in the background."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from schemas import cloudevents, topics
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Coordinates
from schemas.dead_letters import DeadLetter
from schemas.evidence import Evidence, Input
from schemas.topics import Topic
from sinks.runner import run_sinks
from streams.engine.cluster import Cluster
from streams.pipeline import SINKS
from tests.conftest import wait_until

NOW = 1_790_000_000_000_000


def alert(number: int) -> Alert:
    evidence = Evidence(
        decided_by="limit:oil",
        version=1,
        inputs=[Input(at=Coordinates(topic="ticks", partition=0, offset=number), role="price")],
    )
    return Alert(
        alert_id=f"oil/ticks/0/{number}",
        kind=AlertKind.BREACH_OPENED,
        severity=Severity.WARNING,
        title=f"alert {number}",
        message="m",
        evidence=evidence,
        event_time=NOW + number,
        receive_time=NOW + number,
    )


@pytest.fixture
def wanted() -> set[Topic]:
    """What sinks read and write."""
    return {topic for read, written in SINKS.values() for topic in read + written}


class Bench:
    """A cluster, a way to write to it, and a way to read what came of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._producer = cluster.publisher(topics.alerts.name)

    def write(self, topic: Topic[Any], key: str, *records: Any, ids: bool = True) -> None:
        """Records as a processor would write them; bytes are written as they are."""
        for record in records:
            raw = record if isinstance(record, bytes) else topic.encode(record)
            identity = next((getattr(record, n) for n in ("alert_id", "order_id", "fill_id") if hasattr(record, n)), "")
            headers = cloudevents.headers(topic.kind, "test", identity, NOW) if ids and identity else []
            self._producer.produce(self.cluster.named(topic.name), raw, key=key.encode(), headers=headers)
        assert self._producer.flush(20) == 0

    def read(self, topic: Topic[Any], count: int, *, exactly: bool = False, timeout: float = 20.0) -> list[Any]:
        """The first ``count`` committed records of a topic, ``exactly``: and any beyond; fails when fewer come."""
        consumer = self.cluster.reader(f"read-{time.monotonic_ns()}")
        consumer.assign([TopicPartition(self.cluster.named(topic.name), p, OFFSET_BEGINNING) for p in range(4)])
        found: list[Any] = []
        batch: list[Any] = []
        deadline = time.monotonic() + timeout
        while len(found) < count or (batch and exactly):
            assert time.monotonic() < deadline, f"{len(found)} of {count} records in {topic.name}: {found}"
            batch = consumer.consume(500, 0.1 if len(found) < count else 0.5)
            found += [topic.decode(message.value()) for message in batch]
        consumer.close()
        return found

    def letters(self, count: int) -> list[DeadLetter]:
        return self.read(topics.dead_letters, count)

    @contextmanager
    def running(self, *sinks: Any) -> Iterator[threading.Event]:
        """The sinks, running; stopped within their 5 s at the end."""
        stop = threading.Event()
        thread = threading.Thread(target=run_sinks, args=(self.cluster, sinks, stop))
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def bench(cluster: Cluster) -> Bench:
    return Bench(cluster)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def make_alert() -> Callable[[int], Alert]:
    return alert


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries a hundred times faster, so that many of them fit into a test."""
    import sinks.runner

    real = sinks.runner.delay
    monkeypatch.setattr(sinks.runner, "delay", lambda attempt, **given: real(attempt, **given) / 100)
