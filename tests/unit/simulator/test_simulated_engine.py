"""The engine in the simulator: some schedules, and the planted bugs that must not get through.

``make simulate`` runs the long form.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.simulator.__main__ import judge, story
from tests.simulator.mutations import PLANTS
from tests.simulator.oracle import Finding
from tests.simulator.scripts import SCRIPTS
from tests.simulator.world import World

ROOT = Path(__file__).parents[3]
TELL = "from tests.simulator.__main__ import story; from tests.simulator.world import World; w = World({}); w.run();"


def _finds(script, seed) -> bool:
    try:
        World(seed, script).run()
    except Finding:
        return True
    return False


@pytest.mark.parametrize("first", [1, 21, 41])
def test_engine_when_anything_fails_at_any_moment_keeps_its_promises(first):
    for seed in range(first, first + 20):
        _, _, found = judge(seed, None, 60)
        assert not found, found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_engine_when_harm_is_arranged_keeps_its_promises(script):
    for seed in range(1, 6):
        _, _, found = judge(seed, script.__name__, 60)
        assert not found, found


@pytest.mark.parametrize(("plant", "script"), PLANTS, ids=lambda value: getattr(value, "__name__", "by_chance"))
def test_simulator_when_a_bug_is_planted_finds_it(plant, script, monkeypatch):
    plant(monkeypatch)
    assert any(map(partial(_finds, script), range(1, 61)))


def test_schedule_when_run_in_another_process_is_the_same_to_the_last_step():
    world = World(7)
    world.run()
    told = subprocess.run(
        [sys.executable, "-c", TELL.format(7) + "print(story(w))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.strip() == story(world).strip()
