"""Publishing on a real Kafka: broadcast records are in every partition, and it is all or nothing."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from confluent_kafka import TopicPartition

from schemas import topics
from schemas.instruments import Instrument
from streams import control
from streams.engine.cluster import Cluster
from streams.engine.partitions import partition_of
from streams.pipeline import OPERATOR

NOW = 1_795_000_000_000_000
PARTITIONS = 4


@pytest.fixture
def wanted() -> tuple[topics.Topic, ...]:
    """What people publish, and one that is not broadcast."""
    return (*OPERATOR, topics.ticks)


def instrument(name: str) -> control.Keyed:
    record = Instrument(
        instrument=name,
        name=name,
        currency="USD",
        unit="1",
        lot_size=Decimal(1),
        max_order_quantity=Decimal(5),
        venue="v",
        event_time=NOW,
        receive_time=NOW,
    )
    return topics.instruments, name, record


def committed(cluster: Cluster, topic: topics.Topic) -> list[tuple[int, str, object]]:
    """Partition, key and record of all that readers of committed records see."""
    reader = cluster.reader("test", enable_partition_eof=True)
    reader.assign([TopicPartition(cluster.named(topic.name), p, 0) for p in range(PARTITIONS)])
    found, ended = [], 0
    while ended < PARTITIONS:
        for message in reader.consume(1000, 0.05):
            if message.error() is not None:
                ended += 1
            else:
                found.append((message.partition(), message.key().decode(), topic.decode(message.value())))
    reader.close()
    return found


def test_publish_when_a_topic_is_broadcast_writes_into_every_partition(cluster):
    names = [f"I{n}" for n in range(20)]
    switch = control.kill_switch("all", True, "test", "ops", NOW)
    control.publish(cluster, [*map(instrument, names), switch], PARTITIONS)
    found = committed(cluster, topics.instruments)
    assert Counter(p for p, _, _ in found) == dict.fromkeys(range(PARTITIONS), len(names))
    for partition in range(PARTITIONS):
        assert [key for p, key, _ in found if p == partition] == names
    assert [record for _, _, record in committed(cluster, topics.control)] == [switch[2]] * PARTITIONS


def test_publish_when_one_record_cannot_be_written_publishes_none(cluster):
    _, name, good = instrument("GOOD")
    with pytest.raises(control.ControlError, match="nothing was published"):
        control.publish(cluster, [(topics.instruments, name, good), large()], PARTITIONS)
    assert committed(cluster, topics.instruments) == []


def large() -> control.Keyed:
    topic, name, record = instrument("LARGE")
    return topic, name * 500_000, record


def test_publish_when_there_are_more_records_than_the_client_holds_writes_all(cluster):
    records = [instrument(f"I{n}") for n in range(3_000)]
    control.publish(cluster, records, PARTITIONS)
    assert len(committed(cluster, topics.instruments)) == len(records) * PARTITIONS


def test_publish_when_kafka_is_away_says_so():
    with pytest.raises(control.ControlError, match=r"Kafka at 127\.0\.0\.1:1 did not take it"):
        control.publish(Cluster("127.0.0.1:1"), [instrument("A")], PARTITIONS, timeout=0.5)


def test_partition_of_when_compared_with_the_clients_partitioner_agrees(cluster):
    """Keyed records of connectors and routed outputs of processors meet in the same task."""
    producer = cluster.publisher()
    keys = [f"key-{n}" for n in range(200)] + ["ä", "€uro", "x" * 300]
    where: dict[str, int] = {}
    for key in keys:
        producer.produce(
            cluster.named("ticks"),
            b"{}",
            key.encode(),
            on_delivery=lambda error, message: where.__setitem__(message.key().decode(), message.partition()),
        )
    assert producer.flush(30) == 0
    assert where == {key: partition_of(key, PARTITIONS) for key in keys}
