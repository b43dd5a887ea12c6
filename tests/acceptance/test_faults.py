"""The short form of ``make faults``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.schedule import KINDS, schedule

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
def test_engine_when_everything_is_broken_for_a_while_loses_and_doubles_nothing(tmp_path: Path) -> None:
    arguments = ["--seconds", "12", "--seed", "7", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "no finding" in done.stdout


def test_schedule_when_the_seed_is_the_same_is_the_same() -> None:
    assert schedule(7, 600) == schedule(7, 600) != schedule(8, 600)


def test_schedule_when_it_lasts_ten_minutes_has_every_kind() -> None:
    for seed in range(20):
        assert {fault.kind for fault in schedule(seed, 600)} == set(KINDS)
