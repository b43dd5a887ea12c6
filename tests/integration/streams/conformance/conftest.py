"""The three drivers behind one handle: in memory, the native engine on Kafka, Faust on Kafka."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from schemas import topics
from schemas.dead_letters import DeadLetter
from schemas.topics import Topic
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.layout import TopicSpec, changelog_of
from streams.engine.partitions import partition_of
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options, Worker
from streams.faust_driver.host import Host
from streams.faust_driver.run import run_hosts
from streams.vocabulary import MemoryDriver, Words
from tests.conftest import PARTITIONS
from tests.integration.streams.conformance.deciding import Deciding

OPTIONS = Options(idle_after=0.5, session_timeout=6.0)
PATIENCE = 60.0


class InMemory:
    """The driver for unit tests and replay."""

    def __init__(self) -> None:
        self.driver = MemoryDriver([Deciding], partitions=PARTITIONS)

    def put(self, topic: Any, key: str, record: Any = None, raw: bytes | None = None) -> None:
        self.driver.publish(topic, key, record, value=raw)

    def start(self) -> None:
        self.driver.crash()

    def stop(self) -> None:
        self.driver.run()

    def all(self, topic: Any) -> list[Any]:
        self.driver.advance(time.time_ns() // 1000)
        for task in self.driver.tasks:
            task.idle(topics.fills, self.driver.now)  # caught up and silent, as it is here between two runs
        self.driver.advance(time.time_ns() // 1000)
        return self.driver.records(topic)

    def letters(self) -> list[DeadLetter]:
        return self.all(topics.dead_letters)

    def close(self) -> None:
        pass


class OnKafka:
    """A driver that runs in a thread of this process."""

    def __init__(self, cluster: Cluster, body: Callable[[threading.Event], None]) -> None:
        layout.ensure(cluster, [TopicSpec(changelog_of("deciding"), PARTITIONS, {"cleanup.policy": "compact"})])
        self.cluster, self._body = cluster, body
        self._producer = cluster.publisher(topics.ticks.name)
        self._failure: BaseException | None = None

    def put(self, topic: Any, key: str, record: Any = None, raw: bytes | None = None) -> None:
        value = raw if record is None else topic.encode(record)
        places = range(PARTITIONS) if topic.broadcast else [partition_of(key, PARTITIONS)]
        for place in places:
            self._producer.produce(self.cluster.named(topic.name), value, key.encode(), place)

    def start(self) -> None:
        assert self._producer.flush(30) == 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body(self._stop)
        except Exception as error:  # noqa: BLE001 - handed to the test's thread
            self._failure = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def ended(self) -> None:
        """Wait until it has ended by itself."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the driver goes on"

    def all(self, topic: Any) -> list[Any]:
        self._producer.flush(30)
        if self._failure is not None:
            raise self._failure
        reader = self.cluster.reader("conformance", enable_partition_eof=True, fetch_wait_max_ms=10)
        try:
            name = self.cluster.named(topic.name)
            reader.list_topics(name, timeout=10)
            reader.assign([TopicPartition(name, place, 0) for place in range(PARTITIONS)])
            found, ends = [], 0
            while ends < PARTITIONS:
                for message in reader.consume(1_000, 0.1):
                    error = message.error()
                    assert error is None or error.code() == KafkaError._PARTITION_EOF, error
                    ends += error is not None
                    if error is None:
                        found.append((message.partition(), message.offset(), topic.decode(message.value())))
            return [record for _, _, record in sorted(found, key=lambda one: one[:2])]
        finally:
            reader.close()

    def letters(self) -> list[DeadLetter]:
        return self.all(topics.dead_letters)

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()


def native(cluster: Cluster) -> Callable[[threading.Event], None]:
    worker = Worker(cluster, Deciding, Words(), partitions=PARTITIONS, options=OPTIONS)
    # a stuck test must not end all tests
    return lambda stop: run_workers([worker], stop, stall_limit=math.inf)


def on_faust(cluster: Cluster) -> Callable[[threading.Event], None]:
    return lambda stop: run_hosts([Host(cluster, Deciding, Words(), partitions=PARTITIONS, options=OPTIONS)], stop)


@pytest.fixture
def wanted() -> tuple[Topic, ...]:
    """What the processor of these tests reads and writes, and what every engine writes."""
    return (*Deciding.reads, *Deciding.writes, topics.dead_letters, topics.journal)


@pytest.fixture(params=["memory", "native", "faust"])
def driver(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemory()
        return
    cluster = request.getfixturevalue("cluster")
    driver = OnKafka(cluster, native(cluster) if request.param == "native" else on_faust(cluster))
    yield driver
    driver.close()
