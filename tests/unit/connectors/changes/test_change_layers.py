from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.changes.layers import Change, Layers
from connectors.config import ConfigError, load
from schemas.base import Coordinates
from schemas.device_settings import DeviceChange, DeviceSection, DeviceSettings

NOW = 1_795_000_000_000_000
FILE = """
changes = { name = "north" }
[[modbus]]
name = "gas-1"
host = "127.0.0.1"
port = 1502
registers = [{ point = "x", kind = "holding", address = 0, type = "uint16", unit = "1" }]
[[modbus]]
name = "gas-2"
host = "127.0.0.1"
port = 1503
registers = [{ point = "x", kind = "holding", address = 0, type = "uint16", unit = "1" }]
"""
MODBUS = """
host = "127.0.0.1"
port = {port}
[[registers]]
point = "y"
kind = "coil"
address = 7
type = "bool"
unit = "1"
"""
_offsets = count()


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "connectors.toml"
    path.write_text(FILE)
    return path


def change(device: str, wanted: str = "set", text: str = "", section: DeviceSection = DeviceSection.MODBUS) -> Change:
    at = Coordinates(topic="device-settings", partition=1, offset=next(_offsets))
    what = {"section": section, "settings": text} if wanted == "set" else {}
    record = DeviceSettings(
        process="north", device=device, change=DeviceChange(wanted), **what, event_time=NOW, receive_time=NOW
    )
    return Change(at, device, NOW, 100, record)


def ports(layers: Layers) -> dict[str, int]:
    return {device.name: device.port for device in layers.config.modbus}


def test_layers_when_devices_are_set_removed_and_reset_hold_the_newest_over_the_file(file):
    layers = Layers(file)
    assert ports(layers) == {"gas-1": 1502, "gas-2": 1503}
    assert (
        layers.apply([change("gas-1", text=MODBUS.format(port=9001)), change("gas-3", text=MODBUS.format(port=9003))])
        == []
    )
    assert list(ports(layers).items()) == [("gas-1", 9001), ("gas-2", 1503), ("gas-3", 9003)], "in its place"
    assert layers.config.modbus[0].registers[0].point == "y", "replaced as a whole"
    assert layers.apply([change("gas-2", "remove"), change("nobody", "remove")]) == []
    assert ports(layers) == {"gas-1": 9001, "gas-3": 9003}
    assert layers.apply([change("gas-1", "reset"), change("gas-2", "reset"), change("gas-3", "remove")]) == []
    assert ports(layers) == {"gas-1": 1502, "gas-2": 1503}


def test_layers_when_a_record_is_a_tombstone_go_back_to_the_file(file):
    layers = Layers(file)
    layers.apply([change("gas-1", "remove")])
    assert ports(layers) == {"gas-2": 1503}
    layers.apply([Change(Coordinates(topic="t", partition=0, offset=1), "gas-1", NOW, 0)])
    assert ports(layers) == {"gas-1": 1502, "gas-2": 1503}


def test_layers_when_the_settings_are_json_take_them_as_well(file):
    layers = Layers(file)
    register = {"point": "z", "kind": "input", "address": 1, "type": "int16", "unit": "MW"}
    text = json.dumps({"host": "127.0.0.1", "registers": [register]})
    assert layers.apply([change("gas-9", text=text)]) == []
    assert layers.config.modbus[-1].name == "gas-9"


def test_layers_when_a_device_moves_to_another_protocol_is_in_one_section_only(file):
    layers = Layers(file)
    node = '{ point = "p", namespace = "urn:x", identifier = "i=1", unit = "1" }'
    text = f'url = "opc.tcp://127.0.0.1:4840"\nnodes = [{node}]'
    assert layers.apply([change("gas-1", text=text, section=DeviceSection.OPCUA)]) == []
    assert [server.name for server in layers.config.opcua] == ["gas-1"]
    assert ports(layers) == {"gas-2": 1503}


def test_layers_when_a_device_belongs_to_a_broker_is_added_to_its_devices(file):
    file.write_text(
        FILE + '[mqtt]\nhost = "127.0.0.1"\ndevices = [{ name = "battery-1" }]\n[[mqtt.subscriptions]]\n'
        'filter = "plants/{device}/{point}"\npoints = [{ name = "soc", unit = "%" }]\n'
    )
    layers = Layers(file)
    bad = change("battery-3", text="silence = -1", section=DeviceSection.MQTT)
    (refusal,) = layers.apply([change("battery-2", text='site = "x"', section=DeviceSection.MQTT), bad])
    assert refusal.change is bad
    assert refusal.reason.startswith("settings.silence: is -1")
    assert layers.config.mqtt is not None
    assert [device.name for device in layers.config.mqtt.devices] == ["battery-1", "battery-2"]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (change("gas-1", text=MODBUS.format(port=99999)), "settings.port: is 99999; .*less than or equal to 65535"),
        (change("gas-1", text=MODBUS.format(port=1) + "typ = 1"), r"settings.registers\[0\].typ: .*did you mean type"),
        (change("gas-1", text='host = "x"\npassword = "hunter2"'), "settings.password: is no known key"),
        (change("gas-1", text=f'name = "other"\n{MODBUS.format(port=1)}'), "settings.name: is 'other'.*'gas-1'"),
        (change("gas-1", text="host = "), "settings: is neither TOML nor one JSON object"),
        (change("gas-1", text="{" * 100_000), "settings: is neither TOML nor one JSON object"),
        (change("gas-1", text='{"a": ' + "[" * 200_000), "settings: is neither TOML nor one JSON object"),
        (change("b", text="x = 1", section=DeviceSection.MQTT), r"the file has no \[mqtt\], whose broker"),
        (change("gas-1", text=MODBUS.format(port=1).replace("127.0.0.1", "10.0.0.1")), "allow_plaintext"),
        (Change(Coordinates(topic="t", partition=0, offset=3), "gas-1", NOW, 5, None, "not a record"), "not a record"),
    ],
)  # fmt: skip
def test_layers_when_a_change_is_bad_refuse_it_with_the_reason_and_keep_what_held(file, wanted, reason):
    layers = Layers(file)
    layers.apply([change("gas-1", text=MODBUS.format(port=9001))])
    good = change("gas-2", text=MODBUS.format(port=9002))
    (refusal,) = layers.apply([good, wanted])
    assert refusal.change is wanted
    with pytest.raises(ValueError, match=reason):
        raise ValueError(refusal.reason)
    assert "hunter2" not in refusal.reason
    assert ports(layers) == {"gas-1": 9001, "gas-2": 9002}


def test_layers_when_the_last_device_is_removed_refuse_it(file):
    layers = Layers(file)
    (refusal,) = layers.apply([change("gas-1", "remove"), change("gas-2", "remove")])
    assert "names no connector" in refusal.reason
    assert ports(layers) == {"gas-2": 1503}


def test_layers_when_the_file_is_read_again_keep_the_changes_that_fit_it(file):
    layers = Layers(file)
    layers.apply([change("gas-1", "remove"), change("gas-3", text=MODBUS.format(port=9003))])
    file.write_text(FILE.replace("1503", "1604"))
    assert layers.reload() == []
    assert ports(layers) == {"gas-2": 1604, "gas-3": 9003}
    file.write_text(FILE.replace("1503", "70000"))
    with pytest.raises(ConfigError, match=r"modbus\[1\].port: is 70000"):
        layers.reload()
    assert ports(layers) == {"gas-2": 1604, "gas-3": 9003}
    file.write_text(FILE[: FILE.rindex("[[modbus]]")])
    assert layers.reload() == []
    assert ports(layers) == {"gas-3": 9003}


def test_layers_when_a_change_no_longer_fits_the_file_refuse_it_then(file):
    layers = Layers(file)
    removed = change("gas-1", "remove")
    assert layers.apply([removed]) == []
    file.write_text(FILE[: FILE.rindex("[[modbus]]")])
    (refusal,) = layers.reload()
    assert refusal.change is removed
    assert "names no connector" in refusal.reason
    assert ports(layers) == {"gas-1": 1502}


def test_layers_when_the_file_follows_another_name_forget_the_changes(file):
    layers = Layers(file)
    layers.apply([change("gas-1", "remove")])
    file.write_text(FILE.replace("north", "south"))
    assert layers.reload() == []
    assert ports(layers) == {"gas-1": 1502, "gas-2": 1503}


STEP = st.tuples(
    st.sampled_from(["gas-1", "gas-3", "gas-4"]),
    st.sampled_from(["set", "bad", "remove", "reset"]),
    st.integers(1, 65_535),
)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=12), every=st.integers(1, 5))
def test_layers_when_any_changes_come_in_any_portions_hold_the_newest_good_one_of_each(tmp_path_factory, steps, every):
    path = tmp_path_factory.mktemp("layers") / "connectors.toml"
    path.write_text(FILE)
    layers = Layers(path)
    base = {"gas-1": 1502, "gas-2": 1503}
    held = dict(base)
    changes = []
    for device, wanted, port in steps:
        if wanted == "set":
            held[device] = port
        elif wanted == "remove" or (wanted == "reset" and device not in base):
            held.pop(device, None)
        elif wanted == "reset":
            held[device] = base[device]
        text = MODBUS.format(port=port if wanted == "set" else 0)
        changes.append(change(device, "set" if wanted == "bad" else wanted, text))
    refused = [one for n in range(0, len(changes), every) for one in layers.apply(changes[n : n + every])]
    assert ports(layers) == held
    assert {one.change.wanted.settings for one in refused} <= {MODBUS.format(port=0)}
    assert load(path).changes == layers.config.changes
