"""Who keeps a copy of which task: by one rule, so that all workers agree without talking to each other."""

from __future__ import annotations

from types import SimpleNamespace

from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.standby import wanted

PARTITIONS = 12


def group(owners: dict[int, int], workers: int) -> list[SimpleNamespace]:
    """Members as the coordinator describes them."""
    return [
        SimpleNamespace(
            group_instance_id=f"app-{slot}",
            member_id=f"random-{slot}",
            assignment=SimpleNamespace(
                topic_partitions=[TopicPartition("t", p) for p, owner in owners.items() if owner == slot]
            ),
        )
        for slot in range(workers)
    ]


@given(
    st.integers(1, 5).flatmap(
        lambda workers: st.tuples(
            st.just(workers),
            st.dictionaries(st.integers(0, PARTITIONS - 1), st.integers(0, workers - 1)),
            st.integers(1, 5),
        )
    )
)
def test_copies_when_chosen_by_each_worker_are_as_many_as_wanted_and_never_the_owners(given_group):
    workers, owners, copies = given_group
    members = group(owners, workers)
    chosen = [wanted(members, f"app-{slot}", copies, PARTITIONS) for slot in range(workers)]
    for partition in range(PARTITIONS):
        keepers = [slot for slot in range(workers) if partition in chosen[slot]]
        assert owners.get(partition) not in keepers
        assert len(keepers) == min(copies, workers - (partition in owners))


def test_copies_when_a_worker_joins_move_only_to_it():
    owners = {p: p % 2 for p in range(PARTITIONS)}
    for slot in range(3):
        before = wanted(group(owners, 3), f"app-{slot}", 1, PARTITIONS)
        assert wanted(group(owners, 4), f"app-{slot}", 1, PARTITIONS) <= before


def test_copies_when_the_group_does_not_know_the_worker_are_none():
    assert wanted(group({0: 0}, 1), "app-7", 1, PARTITIONS) == set()
