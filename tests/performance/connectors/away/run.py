"""All connectors in one process while Kafka is away, and afterwards what is in Kafka."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors import clock
from connectors.config import Config
from connectors.runner import run_connectors
from schemas import topics
from schemas.gaps import Gap
from streams.engine.cluster import Cluster
from streams.local.kafka import Kafka
from tests.performance.connectors.away.counting import Source
from tests.performance.connectors.away.fix import DropCopy, MarketData
from tests.performance.connectors.away.plant import Plant
from tests.performance.connectors.away.sparkplug import Sparkplug
from tests.performance.connectors.away.websocket import WebSocket
from tests.performance.connectors.figures import Figure, resident

_BEFORE = 20.0  # and as long after it
_DRAINED_SECONDS = 900.0
_TOPICS = (topics.telemetry, topics.ticks, topics.fills, topics.gaps)


def measure(broker: Kafka, cluster: Cluster, seconds: float) -> list[Figure]:
    """What is missing after Kafka was away for ``seconds``, what had waited, and how soon it was there."""
    length = seconds + 2 * _BEFORE
    sources: list[Source] = [Plant(round(length)), Sparkplug(), WebSocket(), MarketData(), DropCopy(round(2 * length))]
    stop = threading.Event()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for one in sources:
            stack.enter_context(one.running(folder))
        sections = {name: section for one in sources for name, section in one.settings().items()}
        config = Config.model_validate(sections)
        thread = threading.Thread(target=run_connectors, args=(config, cluster, stop, folder / "waiting"))
        thread.start()
        stack.callback(thread.join, 30)
        stack.callback(stop.set)
        time.sleep(_BEFORE)
        broker.stop()
        left = clock.now()
        time.sleep(seconds)
        memory = resident()
        broker.start()
        back = clock.now()
        times, drained = _read(cluster, sources)
    waited = sum(left < one < back for one in times)
    return [
        Figure(what=f"records of the {(back - left) / 1e6:.0f} s without Kafka", value=waited, unit=""),
        Figure(what="all there after", value=drained, unit="s"),
        Figure(what="memory of the process at the end of it", value=memory, unit="MB"),
        *(figure for one in sources for figure in one.figures()),
    ]


def _read(cluster: Cluster, sources: Sequence[Source]) -> tuple[list[int], float]:
    """Read until every source is complete: the records' own times, and how long it took. Raises TimeoutError."""
    began = time.monotonic()
    decode = {cluster.named(topic.name): topic.decode for topic in _TOPICS}
    times: list[int] = []
    reader = cluster.reader("bench-away")
    try:
        partitions = {name: reader.list_topics(name, timeout=60).topics[name].partitions for name in decode}
        reader.assign(
            [TopicPartition(name, one, OFFSET_BEGINNING) for name, found in partitions.items() for one in found]
        )
        while lacking := [one for one in sources if not one.complete()]:
            if time.monotonic() - began > _DRAINED_SECONDS:
                names = ", ".join(type(one).__name__ for one in lacking)
                raise TimeoutError(
                    f"not all of {names} was there within {_DRAINED_SECONDS:.0f} s: {len(times)} records"
                )
            for message in reader.consume(10_000, 0.5):
                record = decode[message.topic() or ""](message.value() or b"")
                if not isinstance(record, Gap):
                    times.append(record.event_time)
                for one in sources:
                    one.take(record)
    finally:
        reader.close()
    return times, time.monotonic() - began
