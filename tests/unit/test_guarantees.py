"""docs/guarantees.md names tests and planted bugs: those that there are, and all of the traps."""

from __future__ import annotations

import re
from pathlib import Path

from tests.simulator.mutations import PLANTS

ROOT = Path(__file__).parents[2]
TOLD = (ROOT / "docs" / "guarantees.md").read_text()


def test_guarantees_when_they_name_a_test_there_is_one() -> None:
    named = set(re.findall(r"`(test_\w+)`", TOLD))
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert not named - set(re.findall(r"def (test_\w+)\(", code))
    assert {f"test_trap_{n}" for n in range(1, 9)} == {name[:11] for name in named if name.startswith("test_trap")}


def test_guarantees_when_bugs_are_planted_name_them_all() -> None:
    planted = {plant.__name__ for plant, _ in PLANTS}
    assert planted <= set(re.findall(r"`(\w+)`", TOLD))
