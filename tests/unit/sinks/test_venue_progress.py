from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sinks.trades import Progress


@given(st.integers(0, 10**12), st.sets(st.integers(0, 400), max_size=200), st.integers(0, 400))
def test_progress_when_resumed_knows_exactly_what_was_undecided(base, waiting, position):
    waiting = {base + one for one in waiting if one < position}
    before = Progress(base + position, again=set(waiting))
    after = Progress.resumed(before.low, before.metadata())
    assert (after.low, after.position) == (before.low, before.position)
    assert {o for o in range(base, base + 401) if after.is_new(o) and o >= after.low} == {
        o for o in range(base, base + 401) if o in waiting or o >= base + position
    }
    assert len(before.metadata()) < 4096


def test_progress_when_200_orders_wait_far_apart_fits_into_a_commit():
    assert len(Progress(10**9, again={i * 100_000 for i in range(200)}).metadata()) < 4096


def test_progress_when_only_some_were_read_again_forgets_none_of_the_others():
    progress = Progress.resumed(10, Progress(30, again={10, 15, 20}).metadata())
    assert progress.is_new(10)
    progress.read(10)
    assert (progress.low, progress.is_new(12), progress.is_new(15)) == (15, False, True)


def test_progress_when_undecided_orders_are_gone_from_kafka_moves_on():
    progress = Progress.resumed(10, Progress(30, again={10, 15}).metadata())
    progress.read(30)
    assert progress.low == 31


def test_progress_when_nothing_was_ever_committed_begins_at_the_beginning():
    assert Progress.resumed(-1001, "").is_new(0)


def test_progress_when_metadata_is_strange_decides_again_rather_than_never():
    progress = Progress.resumed(10, "made by somebody else")
    assert (progress.low, progress.is_new(10)) == (10, True)
