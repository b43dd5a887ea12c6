"""Starting an application afresh: what it says beforehand, what it changes, and that it works again afterwards."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from streams.engine import layout
from streams.engine.errors import Fatal
from streams.engine.partitions import partition_of
from streams.engine.reset import Reset, Start
from tests.integration.streams.engine import counting as app
from tests.topic import expire

PLACE = partition_of("k0", app.PARTITIONS)
KEYS = 8


@pytest.fixture
def counted(field):
    """An application that has counted some records and has ended."""
    field.factor(1)
    field.hit(keys=KEYS, each=6)
    with field.running():
        field.check()
    return field


def reset_of(field) -> Reset:
    return Reset(field.cluster, app.Counting, app.specs(), app.Words(), app.PARTITIONS)


def reset_when_left(field, start: Start) -> None:
    """A worker that has given up is a member until its session times out."""
    reset = reset_of(field)
    field.await_(lambda: not reset.plan(start).members, "the group to be empty")
    reset.carry_out(reset.plan(start))


def numbers(field) -> dict[int, list[int]]:
    """Commit numbers in the journal, by partition of the task."""
    found: dict[int, list[int]] = {}
    for line in field.read(app.journal):
        found.setdefault(line.body["partition"], []).append(line.body["commit"])
    return found


def assert_no_holes(field) -> None:
    for found in numbers(field).values():
        assert found == list(range(1, len(found) + 1))


def test_plan_when_made_tells_all_and_changes_nothing(counted):
    plan = reset_of(counted).plan(Start.BEGINNING)
    moves = {(counted.cluster.bare(move.topic), move.partition): move for move in plan.moves}
    assert moves.keys() == {(t.name, p) for t in app.Counting.reads for p in range(app.PARTITIONS)}
    assert all(move.to == move.low == 0 and move.again == move.high == move.committed for move in moves.values())
    counted.await_(
        lambda: plan.commits == {p: n[-1] for p, n in numbers(counted).items()}, "the journal of all commits"
    )
    assert plan.changelog is not None
    assert plan.changelog[PLACE] > 0
    assert plan.members == []
    with counted.running():  # it goes on as if nothing had been
        counted.hit(keys=KEYS, each=3)
        counted.check()


def test_reset_when_somebody_is_at_work_is_refused_and_names_them(counted):
    with counted.running() as running:
        reset = reset_of(counted)
        counted.await_(lambda: reset.plan(Start.BEGINNING).members != [], "the worker to join")
        plan = reset.plan(Start.BEGINNING)
        assert [running.worker.identity in member for member in plan.members] == [True]
        with pytest.raises(Fatal, match=r"counting is at work: counting-0@.*gridtape run processors"):
            reset.carry_out(plan)
        counted.hit(keys=KEYS, each=3)
        counted.check()


def test_worker_when_reset_to_the_beginning_counts_all_again_under_new_commit_numbers(counted):
    before = counted.read(app.counts)
    reset = reset_of(counted)
    reset.carry_out(reset.plan(Start.BEGINNING))
    with counted.running():
        again = counted.await_counts(2 * len(before))
    assert sorted((c.key, c.n, c.total, c.at) for c in again) == sorted(
        2 * [(c.key, c.n, c.total, c.at) for c in before]
    )
    assert_no_holes(counted)
    counted.hit(keys=KEYS, each=2)
    with counted.running():  # the new state is found again
        assert counted.await_counts(2 * len(before) + 2 * KEYS)[-1].n <= 8


def test_worker_when_reset_to_the_end_counts_only_what_comes_then_and_knows_the_broadcasts(counted):
    before = len(counted.read(app.counts))
    reset = reset_of(counted)
    plan = reset.plan(Start.END)
    assert all(move.to == (0 if "factors" in move.topic else move.high) for move in plan.moves)
    reset.carry_out(plan)
    counted.hit(keys=KEYS, each=1, first=500)
    with counted.running():
        counted.await_counts(before + KEYS)
    fresh = [c for c in counted.read(app.counts) if c.total == 500]
    assert [c.n for c in fresh] == [1] * KEYS


def test_worker_when_reset_to_a_time_counts_what_came_since(counted):
    before = len(counted.read(app.counts))
    moment = time.time_ns() // 1000
    counted.await_(lambda: time.time_ns() // 1000 > moment + 5_000, "the clock to go on")
    counted.hit(keys=KEYS, each=1, first=700)
    reset = reset_of(counted)
    reset.carry_out(reset.plan(moment))
    with counted.running():
        counted.await_counts(before + KEYS)
    assert len([c for c in counted.read(app.counts) if (c.n, c.total) == (1, 700)]) == KEYS


def test_worker_when_records_expired_unread_stops_and_skips_them_only_when_told_to(counted):
    name = counted.cluster.named("hits")
    counted.hit(keys=KEYS, each=6)
    end = counted.cluster.reader("ends").get_watermark_offsets(TopicPartition(name, PLACE), 30)[1]
    expire(counted.admin, name, PLACE, end)
    with counted.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert f"of {name}[{PLACE}] is no longer in the topic, which has {end} to {end}" in str(error)
    assert "gridtape reset counting" in str(error)
    assert "--skip-lost" in str(error)
    plan = reset_of(counted).plan(Start.LEFT)
    lost = next(move for move in plan.moves if (move.topic, move.partition) == (name, PLACE)).lost
    assert lost > 0
    assert plan.changelog is None
    reset_when_left(counted, Start.LEFT)
    with counted.running():  # what was known stays known
        last = counted.await_counts(2 * 6 * KEYS - lost)
    assert max(c.n for c in last) == 12


def test_worker_when_everything_is_wrong_at_once_works_again_after_a_reset(counted):
    """A tampered changelog with too many partitions, and an input that was deleted."""
    changelog, extras = counted.cluster.named("counting-changelog"), counted.cluster.named("extras")
    counted.admin.create_partitions([NewPartitions(changelog, 6)])[changelog].result(timeout=30)
    producer = counted.cluster.publisher()
    producer.produce(changelog, b"nonsense", b"totals/k0", PLACE)
    assert producer.flush(30) == 0
    counted.admin.delete_topics([extras])[extras].result(timeout=30)
    counted.await_(lambda: extras not in counted.admin.list_topics(timeout=30).topics, "the topic to go")
    reset = reset_of(counted)
    reset.carry_out(reset.plan(Start.END))
    assert layout.differences(counted.cluster, app.specs()) == {}
    before = len(counted.read(app.counts))
    counted.hit(keys=KEYS, each=3)
    with counted.running():
        counted.await_counts(before + 3 * KEYS)
    assert_no_holes(counted)


def test_reset_when_it_was_cut_off_after_the_changelog_is_finished_by_another(counted):
    reset = reset_of(counted)
    plan = reset.plan(Start.BEGINNING)
    reset._renew_changelog()
    with counted.running() as running:
        error = running.ended()
    assert isinstance(error, Fatal)
    assert "gridtape reset counting" in str(error)
    assert reset_of(counted).plan(Start.BEGINNING).commits == plan.commits
    reset_when_left(counted, Start.BEGINNING)
    with counted.running():
        counted.await_counts(2 * 6 * KEYS)
    assert_no_holes(counted)
