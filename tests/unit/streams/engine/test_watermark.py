"""Event time of a task: the least of its active inputs, never back, the same after a crash."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.state import Table
from streams.engine.watermark import Watermark


def fresh(*inputs: str) -> Watermark:
    return Watermark(inputs, Table("__task", int))


def test_watermark_when_one_input_is_behind_stays_with_it():
    clock = fresh("a", "b")
    clock.advance("a", 100)
    assert clock.now == 0
    clock.advance("b", 40)
    assert clock.now == 40


def test_watermark_when_the_input_behind_is_idle_goes_ahead_and_never_back():
    clock = fresh("a", "b")
    clock.advance("a", 100)
    assert clock.idle("b")
    assert clock.now == 100
    clock.advance("b", 40)
    assert clock.now == 100
    clock.advance("a", 200)
    assert clock.now == 100, "b is active again and holds it back"


def test_watermark_when_every_input_is_idle_waits_for_one_that_is_not():
    clock = fresh("a", "b")
    clock.idle("a")
    clock.idle("b")
    assert clock.now == 0
    clock.advance("b", 70)
    assert clock.now == 70


def test_idle_when_told_again_or_of_a_lone_or_unknown_input_is_nothing_new():
    clock = fresh("a", "b")
    assert clock.idle("a")
    assert not clock.idle("a")
    assert not clock.idle("broadcast")
    assert not fresh("a").idle("a")


def test_watermark_when_a_broadcast_input_comes_does_not_move():
    clock = fresh("a")
    clock.advance("limits", 500)
    assert (clock.now, clock.newest) == (0, 0)


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(1, 50))), max_size=40)


@given(STEPS, st.integers(0, 40))
def test_watermark_when_saved_and_loaded_anywhere_goes_on_the_same(steps, cut):
    table: Table[int] = Table("__task", int)
    steady, broken = fresh(*"abc"), Watermark("abc", table)
    seen = 0
    for number, (name, time) in enumerate(steps):
        if number == cut:
            broken.save()
            table.keep()
            table.merge()
            broken = Watermark("abc", table)
            broken.load()
        for clock in (steady, broken):
            if time is None:
                clock.idle(name)
            else:
                clock.advance(name, time)
        assert (broken.now, broken.newest) == (steady.now, steady.newest)
        assert steady.now >= seen, "it went back"
        assert steady.now <= steady.newest
        seen = steady.now


def test_watermark_when_an_overlay_is_dropped_is_that_of_the_last_commit():
    table: Table[int] = Table("__task", int)
    clock = Watermark("a", table)
    clock.advance("a", 10)
    clock.save()
    table.keep()
    table.merge()
    clock.advance("a", 90)
    clock.save()
    table.abort()
    clock.load()
    assert clock.now == 10
