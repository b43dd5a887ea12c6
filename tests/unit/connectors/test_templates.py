from __future__ import annotations

from pathlib import Path

import pytest

from connectors.config import ConfigError, load

TEMPLATE = """
poll_interval = 5
asset = "STP 110"
registers = [
  { point = "power", kind = "input", address = 0, type = "float32", unit = "kW" },
]
"""
DEVICE = """
[[modbus]]
name = "{}"
host = "127.0.0.1"
template = "kinds/inverter.toml"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "inverter.toml").write_text(TEMPLATE)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "plant.toml").write_text(text)
    return folder / "plant.toml"


def test_template_when_devices_name_it_each_has_its_keys_and_its_own_go_first(folder: Path) -> None:
    config = load(write(folder, DEVICE.format("inv-1") + DEVICE.format("inv-2") + 'poll_interval = 1\nasset = "old"\n'))
    first, second = config.modbus
    assert [one.registers[0].point for one in config.modbus] == ["power", "power"]
    assert (first.name, first.poll_interval, first.asset) == ("inv-1", 5_000_000, "STP 110")
    assert (second.name, second.poll_interval, second.asset) == ("inv-2", 1_000_000, "old")


def test_template_when_it_is_wrong_each_mistake_is_told_once_and_of_its_file(folder: Path) -> None:
    template = folder / "kinds" / "inverter.toml"
    template.write_text(TEMPLATE.replace("float32", "float33") + 'pol_interval = 1\nname = "x"\ntemplate = "y"\n')
    devices = "".join(DEVICE.format(f"inv-{n}") for n in range(20)) + "unit_id = 300\n"
    with pytest.raises(ConfigError) as caught:
        load(write(folder, devices))
    said = sorted(problem.split(";")[0][:60] for problem in caught.value.problems)
    assert [line.split(": ")[:2] for line in said] == [
        ["inverter.toml", "name"],
        ["inverter.toml", "pol_interval"],
        ["inverter.toml", "registers[0].type"],
        ["inverter.toml", "template"],
        ["modbus[19].unit_id", "is 300"],
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"there is no file .*inverter.toml"),
        ("registers = [", r".*inverter.toml is not valid TOML"),
    ],
)
def test_template_when_it_cannot_be_read_says_which_file_and_not_what_every_device_lacks(
    folder: Path, content: str | None, words: str
) -> None:
    template = folder / "kinds" / "inverter.toml"
    template.unlink()
    if content is not None:
        template.write_text(content)
    with pytest.raises(ConfigError, match=rf"modbus\[0\].template: {words}") as caught:
        load(write(folder, DEVICE.format("inv-1") + DEVICE.format("inv-2") + "unit_id = 300\n"))
    assert sorted(problem.split(": ")[0] for problem in caught.value.problems) == [
        "modbus[0].template",
        "modbus[1].unit_id",
    ]
