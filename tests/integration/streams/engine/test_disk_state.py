"""A worker with state in files: a restart reads what is new only, and nothing is decided on files that are wrong."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from streams.engine.disk import DiskStores
from streams.engine.state import COUNTERS
from tests.integration.streams.engine import counting as app

KEYS = 300


def restored() -> float:
    """Changelog records that were read back by this process so far."""
    name = "gridtape_engine_restored_records_total"
    return REGISTRY.get_sample_value(name, {"application": app.Counting.name}) or 0.0


@pytest.fixture
def stores(field, tmp_path):
    return DiskStores(field.cluster, app.Counting, tmp_path / "state")


def test_worker_with_files_when_restarted_reads_nothing_back(field, stores):
    field.factor(2)
    field.hit(keys=KEYS, each=3)
    with field.running(stores=stores):
        field.check(factor=2)
    before = restored()
    field.hit(keys=KEYS, each=2)
    with field.running(stores=stores):
        field.check(factor=2)
    assert restored() == before


def test_worker_with_files_when_others_went_on_meanwhile_reads_what_they_wrote(field, stores):
    field.factor(1)
    field.hit(keys=KEYS, each=3)
    with field.running(stores=stores):
        field.check()
    field.hit(keys=5, each=1)
    with field.running():  # without the files, as another machine would
        field.check()
    before = restored()
    field.hit(keys=KEYS, each=2)
    with field.running(stores=stores):
        field.check()
    assert 5 <= restored() - before < KEYS


def test_worker_with_files_when_they_are_of_another_commit_reads_the_changelog(field, stores):
    field.factor(1)
    field.hit(keys=KEYS, each=3)
    with field.running(stores=stores):
        field.check()
    for partition in range(app.PARTITIONS):
        store = stores.open(partition)
        with store.writing():
            store.rows(COUNTERS, int).restore("commits", 1)
        store.close()
    before = restored()
    field.hit(keys=KEYS, each=2)
    with field.running(stores=stores):
        field.check()
    assert restored() - before >= KEYS
