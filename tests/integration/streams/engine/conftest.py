"""What the tests of the engine on a real Kafka share: topics, load, running workers, and a reader that checks."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaError, TopicPartition
from prometheus_client import REGISTRY

from processors.processor import Processor
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.partitions import partition_of
from streams.engine.stores import Stores
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options
from tests.integration.streams.engine import counting as app

PATIENCE = 60.0
"""Seconds until a test gives up; nothing takes nearly as long, except on a machine that is very busy."""


class Field:
    """The application's topics on a Kafka, with what was put into them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.admin = cluster.admin()
        self._producer = cluster.publisher(app.hits.name)
        self.sent: dict[str, list[int]] = defaultdict(list)
        self._seen: dict[str, list[tuple[int, int, bytes]]] = defaultdict(list)
        self._readers: dict[str, object] = {}

    @classmethod
    def create(cls, bootstrap: str) -> Field:
        """With topics of its own."""
        cluster = Cluster(bootstrap, prefix=f"e{uuid.uuid4().hex[:8]}")
        layout.ensure(cluster, app.specs())
        return cls(cluster)

    # --- in ----------------------------------------------------------------------------------------------------

    def factor(self, value: int) -> None:
        """Publish the factor to every partition, and wait until it is there."""
        name, record = self.cluster.named("factors"), app.factors.encode(app.Factor(value))
        for partition in range(app.PARTITIONS):
            self._producer.produce(name, record, b"factor", partition)
        self.flush()

    def hit(self, keys: int, each: int, *, first: int = 1) -> None:
        """``each`` records of every key, in turn over hits and extras, of amount ``first``, ``first`` + 1, …"""
        for n in range(each):
            for k in range(keys):
                key, topic = f"k{k}", app.hits if (n + k) % 3 else app.extras
                self.sent[key].append(first + n)
                self.put(topic, key, app.Hit(key, first + n))
        self.flush()

    def put(self, topic, key, record=None, *, raw=None) -> None:
        """One record (or raw bytes, or nothing: a tombstone) where its key belongs; sent by ``flush``."""
        value = topic.encode(record) if record is not None else raw
        self._producer.produce(self.cluster.named(topic.name), value, key.encode(), partition_of(key, app.PARTITIONS))

    def flush(self) -> None:
        """Wait until all is in Kafka."""
        assert self._producer.flush(PATIENCE) == 0

    # --- out ---------------------------------------------------------------------------------------------------

    def read(self, topic: app.Topic) -> list:
        """Every committed record of a topic so far, partition by partition, in order."""
        reader = self._readers.get(topic.name)
        if reader is None:
            reader = self._readers[topic.name] = self.cluster.reader(f"test-{topic.name}", enable_partition_eof=True)
            reader.assign([TopicPartition(self.cluster.named(topic.name), p, 0) for p in range(app.PARTITIONS)])
        for message in reader.consume(5000, 0.1):
            if message.error() is None:
                self._seen[topic.name].append((message.partition(), message.offset(), message.value()))
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
        return [topic.decode(value) for _, _, value in sorted(self._seen[topic.name])]

    def await_(self, holds: Callable[[], bool], what: str) -> None:
        """Poll until ``holds``."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
            time.sleep(0.01)

    def await_counts(self, total: int) -> list[app.Count]:
        """Wait until ``total`` records were counted, and return them."""
        self.await_(lambda: len(self.read(app.counts)) >= total, f"{total} counts; have {len(self.read(app.counts))}")
        return self.read(app.counts)

    def check(self, factor: int = 1) -> None:
        """Every record that was sent is counted exactly once, and each sum follows from the one before."""
        found: dict[str, list[app.Count]] = defaultdict(list)
        for count in self.await_counts(sum(map(len, self.sent.values()))):
            found[count.key].append(count)
        for key, amounts in self.sent.items():
            assert [count.n for count in found[key]] == list(range(1, len(amounts) + 1)), key
            assert len({count.at for count in found[key]}) == len(amounts), key
            assert found[key][-1].total == factor * sum(amounts), key
        assert found.keys() == self.sent.keys()

    # --- workers -----------------------------------------------------------------------------------------------

    @contextmanager
    def running(
        self,
        slot: int = 0,
        options: Options = app.QUICK,
        processor: type[Processor] = app.Counting,
        stores: Stores | None = None,
    ) -> Iterator[Outcome]:
        """A worker in a thread, stopped at the end. Its failure is raised there, unless the test has taken it."""
        outcome = Outcome(app.worker(self.cluster, slot, options, processor, stores))
        outcome.thread.start()
        try:
            yield outcome
        finally:
            outcome.stop.set()
            outcome.thread.join(PATIENCE)
            assert not outcome.thread.is_alive()
        if outcome.error is not None:
            raise outcome.error

    def close(self, *, topics: bool = True) -> None:
        """Let go of the readers; delete the topics."""
        for reader in self._readers.values():
            reader.close()
        if not topics:
            return
        for future in self.admin.delete_topics([self.cluster.named(s.name) for s in app.specs()]).values():
            future.exception(timeout=30)


class Outcome:
    """A running worker and how it ended."""

    def __init__(self, worker) -> None:
        self.worker = worker
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=worker.name)

    def _run(self) -> None:
        try:
            run_workers([self.worker], self.stop, stall_limit=math.inf)  # a stuck test must not end all tests
        except Exception as error:  # noqa: BLE001 - handed to the test's thread
            self.error = error

    def tasks(self) -> float | None:
        """How many run, as the metrics tell."""
        labels = {"application": app.Counting.name, "slot": str(self.worker.slot), "state": "running"}
        return REGISTRY.get_sample_value("gridtape_engine_tasks", labels)

    def ended(self) -> BaseException | None:
        """Wait until it has ended by itself, and take its error."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the worker goes on"
        error, self.error = self.error, None
        return error


@pytest.fixture
def field(kafka: str) -> Iterator[Field]:
    field = Field.create(kafka)
    yield field
    field.close()
