"""A signal that asks a process to end."""

from __future__ import annotations

import os
import signal

import pytest

from streams.commands.process import interruptible


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interruptible_when_a_signal_comes_within_a_wait_ends_all_the_same(number: int) -> None:
    with interruptible() as stop:
        with stop._cond:  # as a wait does for a moment when it begins and ends
            os.kill(os.getpid(), number)
        assert stop.wait(10)
