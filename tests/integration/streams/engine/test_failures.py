"""What stops a worker, what it says, and what it survives."""

from __future__ import annotations

import dataclasses

import pytest

from streams.engine import layout
from streams.engine.errors import Fatal
from streams.engine.partitions import partition_of
from streams.engine.stamps import stamp
from tests.integration.streams.engine import counting as app
from tests.topic import expire


def test_worker_when_its_slot_is_started_again_stops_and_says_so(field):
    field.factor(1)
    field.hit(keys=5, each=10)
    with field.running() as older:
        field.check()
        with field.running():
            error = older.ended()
            assert isinstance(error, Fatal)
            assert "another process runs slot 0 of counting" in str(error)
            assert "--slot" in str(error)
            field.hit(keys=5, each=10)
            field.check()


def test_worker_when_records_are_bad_sets_them_aside_and_counts_the_others(field):
    field.factor(1)
    bad = {
        b"not json": "not a valid record",
        b"\xff\xfe": "not a valid record",
        b'{"key":7,"amount":1}': "not a valid record",
        b'{"key":"k0"}': "not a valid record",
        b'{"key":"k0","amount":' + b"[" * 100_000: "not a valid record",
        app.hits.encode(app.Hit("k0", app.BROKEN)): "this amount breaks the processor",
        None: "tombstone",
    }
    for raw in bad:
        field.put(app.hits, "k0", raw=raw)
        field.hit(keys=1, each=3)
    with field.running():
        field.check()
        field.await_(lambda: len(field.read(app.letters)) == len(bad), "the dead letters")
    found = [line.body for line in field.read(app.letters)]
    for letter, reason in zip(sorted(found, key=lambda b: int(b["at"].rpartition("@")[2])), bad.values(), strict=True):
        assert reason in letter["reason"]
        assert letter["at"].startswith(f"{field.cluster.named('hits')}[{partition_of('k0', app.PARTITIONS)}]@")


def test_layout_when_a_topic_has_other_partitions_shows_the_difference(field):
    wrong = [dataclasses.replace(spec, partitions=7) if spec.name == "hits" else spec for spec in app.specs()]
    with pytest.raises(Fatal) as caught:
        layout.ensure(field.cluster, wrong)
    assert f"{field.cluster.named('hits')}: partitions: is 4, must be 7" in str(caught.value)


def test_layout_when_a_setting_differs_shows_the_difference_and_changes_nothing(field):
    wrong = [layout.TopicSpec("counts", app.PARTITIONS, {"cleanup.policy": "compact"})]
    for _ in range(2):
        with pytest.raises(Fatal, match=r"counts: cleanup.policy: is delete, must be compact"):
            layout.ensure(field.cluster, wrong)


def test_layout_when_topics_are_missing_creates_them_once(field):
    spec = layout.TopicSpec("extra", 3, {"retention.ms": "86400000"})
    name = field.cluster.named("extra")
    assert layout.differences(field.cluster, [spec]) == {name: ["is missing"]}
    assert layout.ensure(field.cluster, [spec]) == [name]
    assert layout.ensure(field.cluster, [spec]) == []
    assert layout.differences(field.cluster, [spec]) == {}
    field.admin.delete_topics([name])[name].result(timeout=30)


def test_worker_when_committed_records_were_deleted_stops_instead_of_skipping(field):
    field.factor(1)
    field.hit(keys=1, each=10)
    with field.running():
        field.check()
    field.hit(keys=1, each=50)
    name, place = field.cluster.named("hits"), partition_of("k0", app.PARTITIONS)
    expire(field.admin, name, place, -1)
    with field.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert f"of {name}[{place}] is no longer in the topic" in str(error)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (b"totals/k0", b'{"n":"three"}', "table 'totals' key 'k0'"),
        (b"unheard/of", b"1", "table 'unheard' is not one of counting"),
        (b"\xff", b"1", "utf-8"),
    ],
)
def test_worker_when_a_changelog_record_cannot_be_read_stops_and_names_it(field, key, value, says):
    field.factor(1)
    changelog = field.cluster.named("counting-changelog")
    producer = field.cluster.publisher()
    producer.produce(changelog, value, key, 2, headers=stamp(1))
    assert producer.flush(30) == 0
    with field.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert f"{changelog}[2]@0 cannot be read" in str(error)
    assert says in str(error)


def test_worker_when_its_changelog_was_lost_stops_instead_of_counting_anew(field):
    field.factor(1)
    field.hit(keys=4, each=10)
    with field.running():
        field.check()
    changelog = field.cluster.named("counting-changelog")
    field.admin.delete_topics([changelog])[changelog].result(timeout=30)
    field.await_(lambda: layout.ensure(field.cluster, app.specs()) == [changelog], "the topic to be created anew")
    with field.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert f"Topic {changelog} was deleted and created anew" in str(error)


def test_worker_when_its_offsets_were_lost_stops_instead_of_counting_again(field):
    field.factor(1)
    field.hit(keys=4, each=10)
    with field.running():
        field.check()
    group = field.cluster.named("counting")
    admin = field.admin
    admin.delete_consumer_groups([group])[group].result(timeout=30)
    with field.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert "no committed offsets" in str(error)


def test_worker_when_a_topic_is_missing_stops_and_names_it(field):
    name = field.cluster.named("extras")
    field.admin.delete_topics([name])[name].result(timeout=30)
    with field.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert "does not exist" in str(error)
