"""A store over the in-memory driver, so that a replay can be tried without Kafka."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import cloudevents, topics
from streams.engine.partitions import partition_of
from streams.replay.difference import Committed
from streams.replay.errors import Gone, TooOld
from streams.replay.rerun import Entry, Rerun
from streams.vocabulary import MemoryDriver


class MemoryStore:
    """What a driver has on its partitions. ``lost``: how many of the first records of a topic have expired."""

    def __init__(self, driver: MemoryDriver) -> None:
        self.driver = driver
        self.lost: dict[str, int] = {}

    def rerun(self, processor: type[Any], partition: int) -> Rerun:
        return Rerun(processor, partition)

    def entries(self, application, partition, since=0):
        place = partition_of(application, self.driver.partitions)
        for message in list(self.driver.log["journal", place]):
            time = message.timestamp()[1] * 1000
            if message.key() == f"{application}|{partition}".encode() and time >= since:
                record = topics.journal.decode(message.value())
                yield Entry(record, time, f"journal[{place}]@{message.offset()}")

    def fed(self, partition, topic, segment):
        if segment.first < self.lost.get(topic.name, 0):
            raise Gone(f"{topic.name}[{partition}] was read from offset {segment.first}: expired")
        return self.driver.log[topic.name, partition][segment.first : segment.last + 1]

    def event_id(self, message):
        return cloudevents.read(message.headers).get("ce_id", "")

    def partitions(self, topic):
        return self.driver.partitions

    def state_before(self, task, entry):
        raise TooOld("the in-memory changelog tells only the newest state", None, 0)

    def committed(self, processor, entry):
        found = []
        for topic in (*processor.writes, topics.dead_letters):
            for partition in range(self.driver.partitions):
                for message in self.driver.log[topic.name, partition]:
                    told = cloudevents.read(message.headers)
                    if told.get("ce_source") == f"/gridtape/processors/{processor.name}":
                        key, at = message.key().decode(), f"{topic.name}[{partition}]@{message.offset()}"
                        time = message.timestamp()[1] * 1000
                        found.append(Committed(topic.name, key, message.value(), told["ce_id"], at, time))
        return found


@pytest.fixture(scope="session")
def memory_store() -> type[MemoryStore]:
    return MemoryStore
