"""What people publish: checked whole before anything is written."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from schemas import topics
from streams import control

NOW = 1_795_000_000_000_000
LIMIT = """
[[limits]]
limit_id = "l"
book = "b"
measure = "gross"
currency = "USD"
soft = 1.0
hard = 2.0
"""


def test_file_when_good_gives_records_with_version_and_times(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(LIMIT)

    ((topic, key, limit),) = control.read_file(file, NOW)
    assert (topic, key) == (topics.limits, "l")
    assert (limit.version, limit.event_time, limit.receive_time) == (NOW, NOW, NOW)


def test_file_when_several_things_are_wrong_names_each_and_gives_nothing(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(LIMIT + LIMIT.replace("2.0", "0.5") + LIMIT.replace("gross", "vega") + "\n[[bogus]]\na = 1\n")

    with pytest.raises(control.ControlError) as caught:
        control.read_file(file, NOW)
    text = str(caught.value)
    assert "limits[1]" in text
    assert "hard must not be below soft" in text
    assert "limits[2]" in text
    assert "vega" in text
    assert "[[bogus]] is not known; allowed are control, fills, instruments, limits, rules" in text


def test_file_when_a_key_is_misspelt_names_it_and_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(LIMIT + "hysteressis = 0.1\n")

    with pytest.raises(control.ControlError, match=r"unknown hysteressis; allowed are .*hysteresis"):
        control.read_file(file, NOW)


@pytest.mark.parametrize("table", ["limits", "[limits]\nlimit_id = 'l'", "limits = 3", "limits = [3]"])
def test_file_when_no_list_of_tables_is_refused_in_words(tmp_path: Path, table: str) -> None:
    file = tmp_path / "desk.toml"
    file.write_text(table)

    with pytest.raises(control.ControlError, match=r"desk\.toml"):
        control.read_file(file, NOW)


def test_file_when_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(control.ControlError, match=r"nothing\.toml cannot be read"):
        control.read_file(tmp_path / "nothing.toml", NOW)


def test_kill_switch_when_the_scope_is_unknown_says_what_is_allowed() -> None:
    with pytest.raises(control.ControlError, match="scope"):
        control.kill_switch("everything", True, "why", "me", NOW)
    _, key, switch = control.kill_switch("book:gas-desk", True, "why", "me", NOW)
    assert (key, switch.engaged) == ("book:gas-desk", True)


def test_scenario_of_the_demo_when_read_is_valid() -> None:
    with resources.as_file(resources.files("streams.demo") / "scenario.toml") as path:
        records = control.read_file(path, NOW)

    assert {topic.name for topic, _, _ in records} == {"instruments", "limits", "rules", "control", "fills"}
