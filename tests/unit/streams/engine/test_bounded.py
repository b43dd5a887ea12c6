"""Calls that may never return are given up."""

from __future__ import annotations

import threading

import pytest

from streams.engine.bounded import Bounded


def test_run_when_the_call_returns_or_raises_hands_that_over():
    bounded = Bounded("test")
    assert [bounded.run(lambda n=n: n * n, 5) for n in range(3)] == [0, 1, 4]
    with pytest.raises(ZeroDivisionError):
        bounded.run(lambda: 1 // 0, 5)
    assert bounded.run(threading.current_thread, 5).name == "test"
    bounded.close()


def test_run_when_the_call_does_not_return_gives_it_up():
    bounded, release = Bounded("test"), threading.Event()
    with pytest.raises(TimeoutError):
        bounded.run(release.wait, 0.01)
    release.set()


def test_close_when_nothing_runs_ends_the_thread():
    bounded = Bounded("test-close")
    thread = bounded.run(threading.current_thread, 5)
    bounded.close()
    thread.join(5)
    assert not thread.is_alive()
