"""The eight known traps of exactly-once on librdkafka, each walked into on purpose; docs/guarantees.md lists them.

That the simulator would notice is shown by the planted bugs in ``test_simulated_engine``.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from streams.engine import restore
from streams.engine.worker import Options
from tests.simulator import scripts
from tests.simulator.application import CHANGELOG
from tests.simulator.broker import Broker
from tests.simulator.group import Group
from tests.simulator.network import Refused
from tests.simulator.oracle import Finding
from tests.simulator.outside import SimCluster
from tests.simulator.world import World

ROOT = Path(__file__).parents[3]


def steps(world: World) -> list[tuple[str, str]]:
    """Who did what, in order."""
    return [(who, " ".join([what, *map(str, details)])) for _, who, what, details in world.scheduler.trace]


def place(lines: list[str], *begins: str) -> int:
    """Where the first line stands that begins so."""
    return next(n for n, line in enumerate(lines) if line.startswith(begins))


@pytest.fixture
def commits(monkeypatch) -> list[tuple[str, int, dict[Any, Any], bool]]:
    """Every TxnOffsetCommit that comes to the coordinator: member id, generation, offsets, whether it was taken.

    What is taken must be the member's: given to it, or not given up yet.
    """
    seen = []
    commit = Group.commit

    def watch(self, pid, member_id, instance, generation, offsets):
        try:
            commit(self, pid, member_id, instance, generation, offsets)
        except Refused:
            seen.append((member_id, generation, offsets, False))
            raise
        seen.append((member_id, generation, offsets, True))
        member = self.members[member_id]
        assert {partition for _, partition in offsets} <= {*member.assigned, *member.owned}

    monkeypatch.setattr(Group, "commit", watch)
    return seen


def test_trap_1_when_an_error_is_indefinite_a_new_producer_takes_the_id_and_the_log_is_read_again():
    for seed in range(1, 6):
        world = World(seed, scripts.silence)
        world.run()
        lines = [what for who, what in steps(world) if who.startswith("w0.")]
        after = lines[place(lines, "gave up EndTxn commit") :]
        anew = place(after, "asks InitProducerId")
        assert anew < place(after, "asks OffsetFetch") < place(after, "asks AddPartitionsToTxn", "asks AddOffsetsToTxn")


def test_trap_2_when_the_member_is_unknown_its_offsets_are_refused_or_not_sent(commits):
    for seed in range(1, 4):
        World(seed, scripts.zombie).run()
        World(seed, scripts.expelled).run()
    assert all(member and generation >= 0 for member, generation, _, _ in commits)
    assert not all(taken for _, _, _, taken in commits)


def test_trap_3_when_only_a_timer_fires_the_current_offsets_are_sent_again(commits, monkeypatch):
    end = Broker.end

    def watch(self, name, pid, *, commit):
        end(self, name, pid, commit=commit)
        assert not commit or self.transactions[name].offsets

    monkeypatch.setattr(Broker, "end", watch)
    for seed in range(1, 6):
        World(seed, scripts.zombie).run()
    taken = [{at: offset for at, (offset, _) in offsets.items()} for _, _, offsets, taken in commits if taken]
    assert any(one == other for n, one in enumerate(taken) for other in taken[:n])


def test_trap_4_when_partitions_come_and_go_offsets_are_those_of_owned_ones(commits):
    for seed in range(1, 11):
        World(seed).run()
    assert len({partition for _, _, offsets, _ in commits for _, partition in offsets}) > 1


def test_trap_5_when_a_worker_joins_the_group_is_classic_and_cooperative_and_the_client_new_enough(monkeypatch):
    opened: list[dict[str, Any]] = []
    reader = SimCluster.reader
    monkeypatch.setattr(SimCluster, "reader", lambda self, group, **x: opened.append(x) or reader(self, group, **x))
    World(1).run()
    members = [settings for settings in opened if "group_instance_id" in settings]
    assert members
    assert all(settings["partition_assignment_strategy"] == "cooperative-sticky" for settings in members)
    assert not any("group_protocol" in settings for settings in members)
    assert Version(version("confluent-kafka")) >= Version("2.13.2")
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (wanted,) = (one for one in map(Requirement, listed) if one.name == "confluent-kafka")
    assert "2.13.1" not in wanted.specifier


def test_trap_6_when_a_blocking_call_hangs_the_helper_gives_it_up_and_the_worker_goes_on():
    hung = 0
    for seed in range(1, 9):
        world = World(seed)
        world.network.rates.hang = 0.1
        world.run()
        hung += sum(what.startswith("hangs in") for _, what in steps(world))
    assert hung


def test_trap_7_when_a_worker_dies_in_a_transaction_its_slot_aborts_it_before_the_time_out():
    world = World(2, scripts.silence)
    open_since: list[float] = []

    def die(process, what):
        if what.startswith("TxnOffsetCommit") and world.scheduler.now > 3 and not open_since:
            open_since.append(world.scheduler.now)
            world.scheduler.at(0.0, lambda: world.crash(process))

    world.network.on_ask = die
    world.run()
    aborted = next(
        now for now, who, what, details in world.scheduler.trace if what == "decides" and details[-1] is False
    )
    assert 0 < aborted - open_since[0] < world.options.transaction_timeout / 2
    assert 10 <= Options().transaction_timeout <= 15


def test_trap_8_when_the_end_is_not_stable_yet_the_restore_waits_for_it(monkeypatch):
    unstable = 0
    bounds = restore.bounds

    def watch(cluster, partitions, timeout, **more):
        nonlocal unstable
        found = bounds(cluster, partitions, timeout, **more)
        logs = world.broker.logs
        unstable += sum(logs[at].stable < high for at, (_, high) in found.items() if at[0] == CHANGELOG)
        return found

    monkeypatch.setattr(restore, "bounds", watch)
    for seed in range(1, 9):
        world = World(seed, scripts.late_markers)
        world.run()
    assert unstable


def test_bounds_when_the_client_is_new_has_it_meet_the_leaders_first(monkeypatch):
    World(1, scripts.late_markers).run()
    monkeypatch.setattr(restore, "_meet_leaders", lambda *_: None)
    with pytest.raises(Finding, match="does not know the leaders"):
        World(1, scripts.late_markers).run()
