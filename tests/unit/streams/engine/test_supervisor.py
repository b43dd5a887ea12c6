"""Several workers in one process: the first failure stops all, and one that is stuck ends the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from streams.engine.errors import Fatal
from streams.engine.supervisor import EXIT_STALLED, run_workers


class Job:
    """Has what the supervisor needs of a worker."""

    def __init__(self, name: str, failure: BaseException | None = None) -> None:
        self.name = name
        self.alive_at = time.monotonic()
        self.done = False
        self.stopped = False
        self._failure = failure

    def run(self, stop: threading.Event) -> None:
        if self._failure is not None:
            raise self._failure
        while not stop.wait(0.01):
            self.alive_at = time.monotonic()
        self.stopped = True


def test_workers_when_one_fails_all_stop_and_the_failure_is_named():
    steady = Job("steady-0")
    with pytest.raises(Fatal, match=r"worker broken-0 stopped: the disk is full"):
        run_workers([steady, Job("broken-0", Fatal("the disk is full"))], threading.Event())
    assert steady.stopped


def test_workers_when_one_raises_the_unforeseen_it_is_handed_on():
    with pytest.raises(ZeroDivisionError):
        run_workers([Job("broken-0", ZeroDivisionError())], threading.Event())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_workers_when_one_ends_by_what_nothing_catches_all_stop_and_it_is_told():
    steady = Job("steady-0")
    with pytest.raises(Fatal, match="worker broken-0 ended without being told to"):
        run_workers([steady, Job("broken-0", SystemExit())], threading.Event())
    assert steady.stopped


def test_workers_when_told_to_stop_all_end():
    jobs, stop = [Job("a-0"), Job("b-0")], threading.Event()
    threading.Timer(0.05, stop.set).start()
    run_workers(jobs, stop)
    assert all(job.stopped and job.done for job in jobs)


STUCK = """
import threading, time
from streams.engine.supervisor import run_workers

class Stuck:
    name, done = "stuck-0", False
    alive_at = time.monotonic()

    def run(self, stop):
        def in_here():
            threading.Event().wait()
        in_here()

run_workers([Stuck()], threading.Event(), stall_limit=0.3)
"""


def test_workers_when_one_is_stuck_the_process_ends_and_shows_where():
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT_STALLED
    assert "in in_here" in ended.stderr
