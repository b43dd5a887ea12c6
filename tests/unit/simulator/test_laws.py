"""The laws of the engine's loop, as its requests and calls show them; docs/guarantees.md lists them all."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from typing import Any

from streams.engine import cluster
from streams.engine.task import Task
from streams.engine.worker import Options
from tests.simulator import scripts
from tests.simulator.application import CHANGELOG
from tests.simulator.oracle import Oracle
from tests.simulator.outside import SimCluster
from tests.simulator.scheduler import Process
from tests.simulator.world import World

Step = tuple[str, Any]
"""What a process did or was told, and the first detail of it."""


def run(seed: int, script: Callable[[World], None]) -> dict[str, list[Step]]:
    """The steps of each process of a schedule."""
    world = World(seed, script)
    world.run()
    steps: dict[str, list[Step]] = defaultdict(list)
    for _, who, what, details in world.scheduler.trace:
        steps[who].append((what, details[0] if details else None))
    return steps


def joining(world: World) -> None:
    """A second worker comes while the first one has something to commit, which is nearly always."""
    world.options = replace(world.options, quiet_interval=1.0, commit_interval=1.0)
    world.scheduler.at(4.0, world.grow)


def standing_still(world: World) -> None:
    """A worker stands still now and then until the group has given its partitions to the other."""
    world.grow()

    def stop(process: Process, what: str) -> None:
        if what == "Heartbeat" and world.rng.random() < 0.02:
            process.stop(1.2 * world.options.session_timeout)

    world.network.on_ask = stop


def asks(step: Step, *requests: str) -> bool:
    return step[0] == "asks" and str(step[1]).startswith(requests)


def until(steps: list[Step], holds: Callable[[Step], bool]) -> list[Step]:
    return list(takewhile(lambda step: not holds(step), steps))


def test_law_commit_when_a_task_merges_is_in_the_log_already(monkeypatch):
    merged = 0
    committed = Task.committed

    def watch(self):
        nonlocal merged
        merged += 1
        log = Oracle(world.broker, world.partitions, {}).committed(CHANGELOG, self.partition)
        newest = next(entry.value for entry in reversed(log) if entry.key == b"__task/commits")
        assert json.loads(newest) == self.commits
        committed(self)

    monkeypatch.setattr(Task, "committed", watch)
    world = World(1, scripts.silence)
    world.run()
    assert merged


def test_law_consumer_when_opened_reads_committed_and_never_commits_by_itself(monkeypatch):
    monkeypatch.setattr(cluster, "Consumer", dict)
    settings = cluster.Cluster("broker:9092").reader("group")
    assert settings["enable.auto.commit"] is False
    assert settings["enable.auto.offset.store"] is False
    assert settings["isolation.level"] == "read_committed"


def test_law_ids_when_workers_start_again_are_those_of_their_slot(monkeypatch):
    members: dict[str, set[str]] = defaultdict(set)
    producers: dict[str, set[str]] = defaultdict(set)
    reader, publisher = SimCluster.reader, SimCluster.publisher

    def read(self, group, **extra):
        if "group_instance_id" in extra:
            members[self._outside[0].name.partition(".")[0]].add(extra["group_instance_id"])
        return reader(self, group, **extra)

    def publish(self, topic="", **extra):
        producers[self._outside[0].name.partition(".")[0]].add(extra["transactional_id"])
        assert extra["message_timeout_ms"] < extra["transaction_timeout_ms"]
        return publisher(self, topic, **extra)

    monkeypatch.setattr(SimCluster, "reader", read)
    monkeypatch.setattr(SimCluster, "publisher", publish)
    World(1, scripts.late_markers).run()
    expected = {f"w{slot}": {f"tallying-{slot}"} for slot in (0, 1)}
    assert members == producers == expected
    assert 10 <= Options().transaction_timeout <= 15


def test_law_assign_when_partitions_are_given_pauses_them_until_their_state_is_there():
    world = World(1, scripts.late_markers)
    world.run()
    restored: set[int] = set()
    held: dict[str, Any] = {}
    for _, who, what, details in world.scheduler.trace:
        if what == "assigns":
            held[who] = details[0]
            restored -= {partition for _, partition in details[0]}
        elif who in held:
            assert (what, details[0]) == ("pauses", held.pop(who))
        elif what == "state restored":
            restored.add(details[0]["partition"])
        elif what == "resumes":
            assert {partition for _, partition in details[0]} <= restored


def test_law_revoke_when_partitions_are_taken_commits_what_waits_and_then_lets_go():
    commits = 0
    for seed in range(1, 7):
        for steps in run(seed, joining).values():
            for n, (what, kind) in enumerate(steps):
                if (what, kind) == ("is told", "revoke"):
                    before = until(steps[n:], lambda step: step[0] == "unassigns")
                    after = until(steps[n + len(before) :], lambda step: step[0] == "assigns")
                    _, gone = after[0]
                    commits += any(asks(step, "EndTxn commit") for step in before)
                    sent = [str(step[1]) for step in after if asks(step, "TxnOffsetCommit")]
                    assert not any(str(place) in text for text in sent for place in gone)
    assert commits


def test_law_lost_when_partitions_are_lost_commits_nothing_of_them():
    lost = 0
    for seed in range(1, 7):
        for steps in run(seed, standing_still).values():
            for n, step in enumerate(steps):
                if step == ("is told", "lost"):
                    lost += 1
                    rest = until(steps[n:], lambda step: asks(step, "InitProducerId"))
                    assert not any(asks(step, "TxnOffsetCommit", "AddOffsetsToTxn", "EndTxn commit") for step in rest)
    assert lost


def test_law_rebalance_when_a_worker_joins_leaves_alone_what_stays():
    taken = 0
    for seed in range(1, 7):
        steps = run(seed, joining)["w0.0"]
        given = next(places for what, places in steps if what == "assigns")
        if len({partition for _, partition in given}) > 1:
            taken += 1
            rest = steps[steps.index(("is told", "revoke")) :]
            away = next(places for what, places in rest if what == "unassigns")
            assert len({partition for _, partition in away}) == 1
            kept = until(rest[1:], lambda step: step[0] == "is told")
            assert not any(set(places) - set(away) for what, places in kept if what in ("unassigns", "pauses"))
    assert taken
