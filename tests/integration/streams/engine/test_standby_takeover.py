"""A worker that keeps copies takes over from a killed one by reading the tail of the changelog only."""

from __future__ import annotations

import dataclasses
import signal

from prometheus_client import REGISTRY

from tests.integration.streams.engine import counting as app
from tests.integration.streams.engine.test_disk_state import restored
from tests.integration.streams.engine.test_exactly_once import process

KEYS = 400
WARM = dataclasses.replace(app.QUICK, standbys=1)


def copies(slot: int) -> int:
    """How many copies a worker keeps that are not behind."""
    name, application = "gridtape_engine_standby_lag_records", {"application": app.Counting.name}
    labels = {**application, "slot": str(slot)}
    if REGISTRY.get_sample_value("gridtape_engine_standbys", labels) != app.PARTITIONS / 2:
        return 0
    lags = [REGISTRY.get_sample_value(name, {**application, "partition": str(p)}) for p in range(app.PARTITIONS)]
    return lags.count(0)


def test_worker_with_copies_when_another_is_killed_reads_the_tail_only(field):
    field.factor(1)
    other = process(field, slot=1)
    with field.running(slot=0, options=WARM) as survivor:
        try:
            field.await_(lambda: survivor.tasks() == app.PARTITIONS / 2, "half of the partitions each")
            field.hit(keys=KEYS, each=3)
            field.check()
            field.await_(lambda: copies(0) == app.PARTITIONS / 2, "warm copies of the other half")
            before = restored()
        finally:
            other.send_signal(signal.SIGKILL)
            other.communicate()
        field.hit(keys=KEYS, each=1)
        field.check()
        field.await_(lambda: survivor.tasks() == app.PARTITIONS, "all partitions")
        assert restored() - before < KEYS / 4, "the state of half the keys was read back, not the tail"


def test_worker_with_copies_when_partitions_come_and_go_counts_each_record_once(field):
    field.factor(1)
    with field.running(slot=0, options=WARM) as first:
        for _ in range(2):
            field.hit(keys=KEYS, each=2)
            with field.running(slot=1, options=WARM):
                field.await_(lambda: first.tasks() == app.PARTITIONS / 2, "half of the partitions each")
                field.hit(keys=KEYS, each=2)
                field.check()
            field.await_(lambda: first.tasks() == app.PARTITIONS, "all partitions back")
            field.check()
