"""Files that people publish: every error at once, nothing half."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from streams import control

NOW = 1_795_000_000_000_000
GOOD = """
[[instruments]]
instrument = "WTI"
name = "Crude oil"
currency = "USD"
unit = "[bbl_us]"
lot_size = "1000"
max_order_quantity = "5000"
venue = "REPLAY"

[[limits]]
limit_id = "oil-gross"
book = "oil-desk"
measure = "gross"
currency = "USD"
soft = 1000000
hard = 1200000.0
version = 3

[[control]]
scope = "book:oil-desk"
engaged = false
reason = "opened"
actor = "ops"
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "reference.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_file_when_good_becomes_records_with_keys_times_and_versions(tmp_path):
    records = control.read_file(written(tmp_path, GOOD), NOW)
    assert [(topic.name, key) for topic, key, _ in records] == [
        ("instruments", "WTI"),
        ("limits", "oil-gross"),
        ("control", "book:oil-desk"),
    ]
    instrument, limit, switch = (record for _, _, record in records)
    assert instrument.lot_size == Decimal("1000")
    assert {record.event_time for _, _, record in records} == {NOW}
    assert (limit.version, switch.version) == (3, NOW)
    for topic, _, record in records:
        assert topic.decode(topic.encode(record)) == record


def test_file_when_it_holds_settings_of_a_device_keys_them_by_process_and_device(tmp_path):
    row = "[[device_settings]]\nprocess = 'north'\ndevice = 'gas-1'\nchange = "
    (found,) = control.read_file(written(tmp_path, f"{row}'remove'"), NOW)
    assert found[:2] == (topics.device_settings, "north|gas-1")
    with pytest.raises(
        control.ControlError, match=r"device_settings\[0\]: section and settings belong to change = set"
    ):
        control.read_file(written(tmp_path, f"{row}'set'"), NOW)


def test_file_when_several_things_are_wrong_tells_all_of_them_and_gives_nothing(tmp_path):
    bad = GOOD.replace('currency = "USD"\nunit', 'currency = "dollars"\nunit').replace("hard =", "hardest =")
    with pytest.raises(control.ControlError) as caught:
        control.read_file(written(tmp_path, bad + "\n[[rulez]]\nname = 1\n"), NOW)
    text = str(caught.value)
    assert "instruments[0]: " in text
    assert "$.currency" in text
    assert "limits[0]: " in text
    assert "`hard`" in text
    assert "[[rulez]] is not known; allowed are control, device_settings, fills, instruments, limits, rules" in text
    assert text.startswith("nothing was published:")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[limits]", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        ("limits = 5", r"each under a line \[\[limits\]\]"),
        ("[limits]\nlimit_id = 'a'", r"each under a line \[\[limits\]\]"),
        ("limits = [1]", r"each under a line \[\[limits\]\]"),
        (GOOD.replace("1200000.0", "1.0"), "hard must not be below soft"),
        (GOOD.replace("1200000.0", "nan"), "hard"),
        (GOOD.replace("1200000.0", "inf"), "hard"),
        (GOOD.replace('scope = "book', 'scop = "book'), "scope"),
        (GOOD.replace('actor = "ops"', 'actor = "ops"\nactr = "x"'), "unknown actr; allowed are scope"),
    ],
)
def test_file_when_bad_is_refused_with_what_is_wrong(tmp_path, content, says):
    path = written(tmp_path, content)
    with pytest.raises(control.ControlError, match=says) as caught:
        control.read_file(path, NOW)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[]", r'must hold an object such as \{"limits"'),
        ('{"limits": {}}', r"each under a line \[\[limits\]\] \(JSON: an array\)"),
    ],
)
def test_file_when_bad_json_is_refused_with_what_is_wrong(tmp_path, content, says):
    path = tmp_path / "reference.json"
    path.write_text(content)
    with pytest.raises(control.ControlError, match=says):
        control.read_file(path, NOW)


def test_file_when_json_holds_the_same_as_toml_gives_the_same_records(tmp_path):
    path = tmp_path / "reference.json"
    path.write_text(json.dumps(tomllib.loads(GOOD)))
    assert control.read_file(path, NOW) == control.read_file(written(tmp_path, GOOD), NOW)


def test_file_when_missing_is_named(tmp_path):
    with pytest.raises(control.ControlError, match=r"nowhere\.toml cannot be read: No such file"):
        control.read_file(tmp_path / "nowhere.toml", NOW)


@given(st.binary(max_size=200))
def test_file_when_it_is_anything_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "any.toml"
    path.write_bytes(content)
    with suppress(control.ControlError):
        assert isinstance(control.read_file(path, NOW), list)


def test_switch_when_made_can_be_read_back():
    topic, key, record = control.kill_switch("book:oil-desk", True, "limit", "risk", NOW)
    assert (topic, key) == (topics.control, "book:oil-desk")
    assert topics.control.decode(topics.control.encode(record)) == record


@pytest.mark.parametrize("scope", ["", "desk", "book:", "all books"])
def test_switch_when_its_scope_is_unknown_is_refused(scope):
    with pytest.raises(control.ControlError, match="scope"):
        control.kill_switch(scope, True, "limit", "risk", NOW)


def test_scenario_of_the_demo_when_read_is_valid():
    with resources.as_file(resources.files("streams.demo") / "scenario.toml") as path:
        records = control.read_file(path, NOW)
    assert {topic.name for topic, _, _ in records} == {"instruments", "limits", "rules", "control", "fills"}
