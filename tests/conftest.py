"""Real servers for the tests. ``GRIDTAPE_TEST_KAFKA=host:port`` takes an own Kafka instead of starting one."""

from __future__ import annotations

import faulthandler
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic
from hypothesis import settings

from schemas import topics
from schemas.topics import Topic
from streams.engine.cluster import Cluster
from streams.engine.restore import bounds
from streams.local.kafka import Kafka
from streams.local.mqtt import Mosquitto, find_mosquitto, mqtt
from streams.local.redis import Redis
from streams.pipeline import config
from tests import one_kafka
from tests.topic import remove_tenant

PARTITIONS = 4
TRACED_EXAMPLES = 5
settings.register_profile("gridtape", deadline=None, print_blob=True)  # a busy machine is no fault of the code
settings.load_profile("gridtape")


STACKS = "GRIDTAPE_TEST_STACKS"
"""The folder where test processes that run side by side leave their stacks if a fault in C code ends them."""


os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")  # no test lasts until better machine code pays


@pytest.hookimpl(trylast=True)  # pytest's own would put the stacks far above the report, in the servers' complaints
def pytest_configure(config: pytest.Config) -> None:
    """Each process of several has a file of its own for its last words, and all have one Kafka."""
    if (worker := getattr(config, "workerinput", None)) is not None:
        path = Path(os.environ[STACKS]) / worker["workerid"]
        faulthandler.enable(path.open("w"))
        return
    os.environ[STACKS] = tempfile.mkdtemp(prefix="gridtape-stacks-")
    if config.getoption("numprocesses", None):
        config.add_cleanup(one_kafka.OneKafka().close)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say with the failures where a process was that has ended."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(os.environ[STACKS])
    for path in sorted(folder.iterdir()):
        if stacks := path.read_text():
            terminalreporter.section(f"stacks of {path.name} when it ended")
            terminalreporter.write_line(stacks)
        path.unlink()
    folder.rmdir()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Coverage makes a property run five times as long, and learns all it can from the first examples."""
    handle = getattr(pyfuncitem.obj, "hypothesis", None)
    if handle is None:
        return (yield)
    inner, run = handle.inner_test, count()

    @wraps(inner)
    def traced_at_first(*args: object, **kwargs: object) -> None:
        with nullcontext() if next(run) < TRACED_EXAMPLES else untraced():
            inner(*args, **kwargs)

    handle.inner_test = traced_at_first
    try:
        return (yield)
    finally:
        handle.inner_test = inner


@contextmanager
def untraced() -> Iterator[None]:
    """Run without coverage's tracing."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


def wait_until(holds: Callable[[], bool], timeout: float = 20.0) -> None:
    """Poll until ``holds``; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"did not come true within {timeout} s"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def services_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and logs of this run's servers; pytest keeps the last three runs' folders."""
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def kafka(services_dir: Path) -> Iterator[str]:
    """Bootstrap address of a real Kafka."""
    if own := os.environ.get("GRIDTAPE_TEST_KAFKA"):
        yield own
        return
    if one_kafka.WHERE in os.environ:
        yield one_kafka.ask(services_dir / "kafka")
        return
    with Kafka(services_dir / "kafka") as broker:
        yield broker.address


@pytest.fixture(scope="session")
def redis_url(services_dir: Path) -> Iterator[str]:
    """URL of a real Redis."""
    with Redis(services_dir / "redis") as server:
        yield server.url


@pytest.fixture(scope="session")
def mqtt_broker(services_dir: Path) -> Iterator[tuple[str, int]]:
    """Host and port of an MQTT broker: Mosquitto where it is installed, otherwise amqtt."""
    with mqtt(services_dir) as broker:
        yield "127.0.0.1", broker.port


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Host and port of a real Mosquitto; skips where it is not installed."""
    binary = find_mosquitto()
    if binary is None:
        pytest.skip("Mosquitto is not installed (Debian: apt-get install mosquitto)")
    with Mosquitto(tmp_path_factory.mktemp("mosquitto"), binary=binary) as broker:
        yield "127.0.0.1", broker.port


@pytest.fixture
def wanted() -> Iterable[Topic[Any]]:
    """The topics that ``cluster`` creates. To create and delete all takes a broker seconds of CPU time, so folders of
    tests that need only some say so with a fixture of this name."""
    return topics.ALL


@pytest.fixture
def cluster(kafka: str, wanted: Iterable[Topic[Any]]) -> Iterator[Cluster]:
    """A tenant of its own on the Kafka, with the wanted topics of 4 partitions."""
    cluster = Cluster(kafka, prefix=f"t{uuid.uuid4().hex[:8]}")
    admin = cluster.admin()
    created = [
        NewTopic(cluster.named(topic.name), num_partitions=PARTITIONS, replication_factor=1, config=config(topic))
        for topic in wanted
    ]
    for answer in admin.create_topics(created).values():
        answer.result(timeout=30)
    # the controller has answered, the broker may not lead them yet: asked until it does
    bounds(cluster, [(topic.topic, n) for topic in created for n in range(PARTITIONS)], 30.0)
    yield cluster
    remove_tenant(cluster)
