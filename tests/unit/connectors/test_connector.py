from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import clock
from connectors.connector import Backoff
from schemas.base import EARLIEST_TIME, LATEST_TIME


@given(st.floats(0.001, 10), st.floats(1, 100), st.integers(1, 60))
def test_backoff_when_attempts_fail_grows_within_its_bounds_and_is_jittered(
    first: float, factor: float, attempts: int
) -> None:
    ceiling = first * factor
    backoff = Backoff(threading.Event(), first=first, ceiling=ceiling)
    base = first
    for _ in range(attempts):
        assert base / 2 <= backoff.next_delay() <= base <= ceiling
        base = min(base * 2, ceiling)
    backoff.reset()
    assert backoff.next_delay() <= first


def test_backoff_when_stopped_does_not_wait() -> None:
    stop = threading.Event()
    stop.set()
    assert Backoff(stop, first=3600, ceiling=3600).wait()


def test_backoff_when_not_stopped_says_so() -> None:
    assert not Backoff(threading.Event(), first=0.001).wait()


@pytest.mark.parametrize(("first", "ceiling"), [(0, 1), (-1, 1), (2, 1)])
def test_backoff_when_its_bounds_make_no_sense_refuses(first: float, ceiling: float) -> None:
    with pytest.raises(ValueError, match="0 < first <= ceiling"):
        Backoff(threading.Event(), first=first, ceiling=ceiling)


def test_clock_when_read_is_microseconds_of_this_century() -> None:
    assert EARLIEST_TIME < clock.now() < LATEST_TIME


def test_clock_when_set_back_stands_still_and_when_set_forward_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    hour, before, waited = 3_600_000_000, clock.now(), clock.steady()
    machine = SimpleNamespace(time_ns=lambda: (before - hour) * 1000, monotonic_ns=time.monotonic_ns)
    monkeypatch.setattr(clock, "time", machine)
    assert clock.now() == clock.now() >= before
    machine.time_ns = lambda: (before + hour) * 1000
    monkeypatch.setattr(clock, "_latest", before)
    assert clock.now() == before + hour
    assert 0 <= clock.steady() - waited < hour
