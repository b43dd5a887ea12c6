"""Between two sessions nothing is forgotten and nothing asked for twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.opcua.holes import Hole, Holes

HOUR = 3_600_000_000


def test_holes_when_a_session_ended_are_between_the_newest_value_and_the_next():
    holes = Holes(HOUR)
    holes.seen("a", 100)
    holes.interrupted()
    assert holes.next() is None
    holes.seen("a", 250)
    holes.seen("a", 260)
    assert holes.next() == Hole("a", 100, 250)


def test_holes_when_the_value_rested_or_was_never_known_are_none():
    holes = Holes(HOUR)
    holes.seen("a", 100)
    holes.interrupted()
    holes.seen("a", 100)
    holes.seen("new", 500)
    assert holes.next() is None


def test_holes_when_longer_than_the_reach_begin_later():
    holes = Holes(50)
    holes.seen("a", 100)
    holes.interrupted()
    holes.seen("a", 250)
    assert holes.next() == Hole("a", 200, 250)


def test_holes_when_the_session_ends_while_they_are_filled_wait_with_the_rest():
    holes = Holes(HOUR)
    holes.seen("a", 100)
    holes.interrupted()
    holes.seen("a", 250)
    holes.filled(Hole("a", 100, 250), upto=180)
    holes.interrupted()
    holes.seen("a", 400)
    assert holes.next() == Hole("a", 180, 250)
    holes.filled(Hole("a", 180, 250))
    assert holes.next() == Hole("a", 250, 400)
    holes.filled(Hole("a", 250, 400))
    assert holes.next() is None


@given(st.lists(st.integers(0, 40), max_size=60))
def test_holes_when_sessions_end_anywhere_cover_every_time_that_was_not_seen(steps):
    """A source with a value at every time; 0 ends the session, and its length in time is lost."""
    holes, now, taken, lost = Holes(HOUR), 0, set(), set()
    missing = 0
    for step in steps:
        if step % 4 == 0:
            holes.interrupted()
            missing = step
            continue
        lost |= set(range(now + 1, now + 1 + missing)) if taken else set()
        now += 1 + missing
        missing = 0
        taken.add(now)
        holes.seen("a", now)
    read = set()
    while (hole := holes.next()) is not None:
        found = set(range(hole.after + 1, hole.before))
        assert not found & (taken | read), "asked for twice"
        read |= found
        holes.filled(hole)
    newest = max(taken, default=0)
    wanted = {time for time in lost if time < newest}
    assert read == wanted or sum(1 for step in steps if step % 4 == 0) > 16
