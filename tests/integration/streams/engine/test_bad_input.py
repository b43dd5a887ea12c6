"""State, offsets and topics that no longer belong together: a stop that names the place and the way out."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from processors.processor import State
from streams.engine import layout
from streams.engine.errors import Fatal
from streams.engine.identity import Mark
from streams.engine.partitions import partition_of
from streams.engine.stamps import stamp
from tests.integration.streams.engine import counting as app
from tests.topic import expire

PLACE = partition_of("k0", app.PARTITIONS)


@pytest.fixture
def counted(field):
    """An application that has counted some records and has ended."""
    field.factor(1)
    field.hit(keys=4, each=10)
    with field.running():
        field.check()
    return field


def stopped(field, *says: str, processor=app.Counting) -> None:
    """A worker stops at once, says this, and has written nothing."""
    before = len(field.read(app.counts))
    with field.running(processor=processor) as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    for text in (*says, "gridtape reset counting"):
        assert text in str(error)
    assert len(field.read(app.counts)) == before


@pytest.mark.parametrize(
    ("headers", "says"),
    [(None, "was not written by this application"), (stamp(1), "it is of commit 1, after one of")],
    ids=["foreign", "old"],
)
def test_worker_when_somebody_has_written_to_its_changelog_stops_and_names_the_record(counted, headers, says):
    changelog = counted.cluster.named("counting-changelog")
    producer = counted.cluster.publisher()
    told = []
    value = msgspec.json.encode(app.Total(1, 1))
    headers = {} if headers is None else {"headers": headers}
    counted.hit(keys=4, each=10)  # so that the partition has seen more than one commit
    with counted.running():
        counted.check()
    producer.produce(changelog, value, b"totals/k0", PLACE, on_delivery=lambda _, m: told.append(m.offset()), **headers)
    assert producer.flush(30) == 0
    stopped(counted, f"{changelog}[{PLACE}]@{told[0]}", says)


def test_worker_when_the_beginning_of_its_changelog_was_deleted_stops_and_names_it(counted):
    changelog = counted.cluster.named("counting-changelog")
    resource = ConfigResource(
        ResourceType.TOPIC,
        changelog,
        incremental_configs=[ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)],
    )
    counted.admin.incremental_alter_configs([resource])[resource].result(timeout=30)
    expire(counted.admin, changelog, PLACE, 3)
    stopped(counted, f"{changelog}[{PLACE}] begins at offset 3")


def test_worker_when_an_input_was_deleted_and_created_anew_stops_and_says_so(counted):
    name = counted.cluster.named("extras")
    recreate(counted, "extras")
    counted.hit(keys=4, each=20)
    stopped(counted, f"{name}[", "has no committed offset, but the other inputs have", "deleted and created anew")


def test_worker_when_its_offsets_are_of_a_topic_of_another_id_stops_and_says_so(counted):
    name = counted.cluster.named("hits")
    with_mark(counted, topic="AAAAAAAAAAAAAAAAAAAAAA")
    stopped(
        counted, f"of {name}[{PLACE}]", f"Topic {name} was deleted and created anew: its id was AAAAAAAAAAAAAAAAAAAAAA"
    )


def test_worker_when_a_topic_is_created_anew_underneath_stops_and_says_so(field):
    field.factor(1)
    field.hit(keys=4, each=10)
    with field.running() as running:
        field.check()
        recreate(field, "counting-changelog")
        error = running.ended()
    assert isinstance(error, Fatal)
    assert f"Topic {field.cluster.named('counting-changelog')} was deleted and created anew" in str(error)
    stopped(field, "was deleted and created anew")


def test_worker_when_partitions_were_added_stops_and_says_how_many(counted):
    name = counted.cluster.named("hits")
    counted.admin.create_partitions([NewPartitions(name, 6)])[name].result(timeout=30)
    counted.await_(lambda: len(counted.admin.list_topics(name).topics[name].partitions) == 6, "six partitions")
    stopped(counted, f"topic {name} has 6 partitions, must have 4")


def test_worker_when_the_offsets_are_of_another_partition_count_stops_and_says_so(counted):
    name = counted.cluster.named("hits")
    offset = with_mark(counted, partitions=8)
    stopped(counted, f"committed offset {offset} of {name}[{PLACE}]", "had 8 partitions; now they have 4")


def with_mark(field, **changed) -> int:
    """Change what the committed offset of a partition says of itself."""
    name = field.cluster.named("hits")
    reader = field.cluster.reader("counting")
    place = reader.committed([TopicPartition(name, PLACE)], 30)[0]
    mark = dataclasses.replace(Mark.parse(place.metadata), **changed)
    reader.commit(offsets=[TopicPartition(name, PLACE, place.offset, str(mark))], asynchronous=False)
    reader.close()
    return place.offset


class Other(msgspec.Struct, frozen=True):
    """As Total was; ``total`` has a new name, so old bytes could be read and would mean nothing."""

    n: int
    amount: int = 0


class Renamed(app.Counting):
    """An incompatible version of Counting."""

    totals = State(Other)


class Larger(msgspec.Struct, frozen=True):
    """A compatible successor of Total."""

    n: int
    total: int
    least: int = 0


class Grown(app.Counting):
    """A compatible version of Counting."""

    totals = State(Larger)


def test_worker_when_its_state_is_of_an_incompatible_version_stops_and_names_the_field(counted):
    says = f"{counted.cluster.named('counting-changelog')}[", "table 'totals': value.total is gone"
    stopped(counted, *says, processor=Renamed)


def test_worker_when_its_state_is_of_a_compatible_version_goes_on(counted):
    with counted.running(processor=Grown):
        counted.hit(keys=4, each=10)
        counted.check()


def recreate(field, topic: str) -> None:
    name = field.cluster.named(topic)
    field.admin.delete_topics([name])[name].result(timeout=30)
    field.await_(lambda: layout.ensure(field.cluster, app.specs()) == [name], "the topic to be created anew")
