"""How a worker ends on purpose, and what the others and the readers notice of it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import defaultdict
from itertools import pairwise

from confluent_kafka import TopicPartition

from streams.engine.partitions import partition_of
from tests.integration.streams.engine import counting as app

PATIENT = dataclasses.replace(app.QUICK, session_timeout=15.0)
"""With a session time-out so long that a stall as long as that cannot be taken for anything else."""
LONGEST = PATIENT.session_timeout / 3


class Feeder(threading.Thread):
    """A record into every partition every 20 ms, until told to stop."""

    def __init__(self, field) -> None:
        super().__init__(daemon=True)
        self._field = field
        self._keys = {partition_of(f"k{n}", app.PARTITIONS): n for n in range(50)}
        self.ended = threading.Event()

    def run(self) -> None:
        n = 0
        while not self.ended.wait(0.02):
            n += 1
            for key in self._keys.values():
                self._field.sent[f"k{key}"].append(n)
                self._field.put(app.hits, f"k{key}", app.Hit(f"k{key}", n))
            self._field.flush()

    def __enter__(self) -> Feeder:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ended.set()
        self.join()


def stalls(field) -> dict[int, float]:
    """Longest time between two committed records of each output partition, by the records' own timestamps; seconds."""
    reader = field.cluster.reader("stalls", enable_partition_eof=True)
    reader.assign([TopicPartition(field.cluster.named("counts"), p, 0) for p in range(app.PARTITIONS)])
    times: dict[int, list[int]] = defaultdict(list)
    ended: set[int] = set()
    while len(ended) < app.PARTITIONS:
        for message in reader.consume(1000, 0.1):
            if message.error():
                ended.add(message.partition())
            else:
                times[message.partition()].append(message.timestamp()[1])
    reader.close()
    return {p: max(b - a for a, b in pairwise(sorted(t))) / 1000 for p, t in sorted(times.items())}


def members(field) -> int:
    group = field.cluster.named(app.Counting.name)
    return len(field.admin.describe_consumer_groups([group])[group].result(timeout=30).members)


def test_worker_when_stopped_leaves_the_group_at_once(field):
    field.factor(1)
    field.hit(keys=5, each=10)
    with field.running(options=PATIENT) as running:
        field.check()
        assert members(field) == 1
        running.stop.set()
        began = time.monotonic()
        assert running.ended() is None
        assert time.monotonic() - began < LONGEST
    assert members(field) == 0


def test_partitions_when_their_worker_is_stopped_go_to_the_other_before_the_session_times_out(field):
    field.factor(1)
    with Feeder(field), field.running(slot=0, options=PATIENT) as first:
        with field.running(slot=1, options=PATIENT) as second:
            field.await_(lambda: second.tasks() == 2 == first.tasks(), "two partitions each")
        field.await_(lambda: first.tasks() == app.PARTITIONS, "all partitions back")
    with field.running(options=PATIENT):
        field.check()
    assert max(stalls(field).values()) < LONGEST, stalls(field)


def test_three_workers_when_restarted_one_after_the_other_stall_no_partition_for_long(field):
    field.factor(1)
    running = [field.running(slot, PATIENT) for slot in range(3)]
    workers = [one.__enter__() for one in running]
    try:
        field.await_(lambda: sum(worker.tasks() or 0 for worker in workers) == app.PARTITIONS, "all tasks run")
        field.await_(lambda: all(worker.tasks() for worker in workers), "each has one")
        with Feeder(field):
            field.await_counts(100)
            for slot in range(3):
                running[slot].__exit__(None, None, None)
                running[slot] = field.running(slot, PATIENT)
                workers[slot] = running[slot].__enter__()
                field.await_(lambda: all(worker.tasks() for worker in workers), "each has one again")
        field.check()
        longest = stalls(field)
        print("longest stalls by partition:", longest)
        assert max(longest.values()) < LONGEST, longest
    finally:
        for one in running:
            one.__exit__(None, None, None)
