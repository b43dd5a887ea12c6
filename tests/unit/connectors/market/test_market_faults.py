from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.market.faults import Line
from connectors.market.pace import CHUNK, Pace

rates = st.floats(0, 0.33)


def through(line: Line[int], count: int) -> list[int]:
    return [out for i in range(count) for out in line.send(i)] + line.end()


@given(rates, rates, st.integers(), st.integers(0, 300))
def test_line_when_nothing_is_deleted_loses_nothing_and_repeats_at_most_once(dup, swap, seed, count):
    arrived = through(Line(random.Random(seed), duplicate=dup, swap=swap), count)
    assert set(arrived) == set(range(count))
    assert max(Counter(arrived).values(), default=0) <= 2


@given(rates, rates, rates, st.integers())
def test_line_when_seed_is_the_same_makes_the_same_faults(delete, dup, swap, seed):
    lines = [Line(random.Random(seed), delete=delete, duplicate=dup, swap=swap) for _ in range(2)]
    assert through(lines[0], 200) == through(lines[1], 200)


def test_line_when_good_changes_nothing():
    assert through(Line(random.Random(1)), 100) == list(range(100))


def test_line_when_rates_are_given_keeps_them():
    arrived = Counter(through(Line(random.Random(1), delete=0.1, duplicate=0.2), 20_000))
    assert 1 - len(arrived) / 20_000 == pytest.approx(0.1, abs=0.01)
    assert sum(n == 2 for n in arrived.values()) / 20_000 == pytest.approx(0.2, abs=0.01)


def test_line_when_swapping_always_exchanges_neighbours():
    assert through(Line(random.Random(1), swap=1.0), 5) == [1, 0, 3, 2, 4]


def test_line_when_rates_exceed_one_refuses():
    with pytest.raises(ValueError, match="together at most 1"):
        Line(random.Random(1), delete=0.6, swap=0.6)


@given(st.floats(0.1, 10_000), st.lists(st.floats(0.0001, 0.9), min_size=1, max_size=60))
def test_pace_when_time_passes_never_exceeds_the_rate(rate, waits):
    pace, now, sent = Pace(rate, 100.0), 100.0, 0
    for wait in waits:
        now += wait
        sent += pace.take(now)
    assert sent <= (now - 100.0) * rate + 1 + 1e-6


def test_pace_when_polled_as_it_asks_keeps_the_rate():
    pace, now, sent = Pace(20.0, 0.0), 0.0, 0
    while now < 10.0:
        sent += pace.take(now)
        now += pace.wait(now) or 0.0001
    assert sent == pytest.approx(200, abs=2)


def test_pace_when_held_up_for_long_does_not_burst():
    pace = Pace(100.0, 0.0)
    assert pace.take(3600.0) <= 101


def test_pace_when_unlimited_is_always_due():
    pace = Pace(None, 0.0)
    assert (pace.wait(5.0), pace.take(5.0)) == (0.0, CHUNK)
