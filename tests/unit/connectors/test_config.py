from __future__ import annotations

from pathlib import Path

import pytest

import connectors
from connectors.config import Config, ConfigError, load
from connectors.fields import is_loopback

FOLDER = Path(connectors.__file__).parent
EXAMPLES = sorted(FOLDER.glob("*/example.toml"))

MQTT = """
[mqtt]
host = "127.0.0.1"
devices = [{ name = "battery-1", silence = 2.5 }]

[[mqtt.subscriptions]]
filter = "plants/{device}/{point}"
points = [{ name = "soc", unit = "%" }]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "connectors.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_config_when_valid_gives_durations_in_microseconds_and_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, MQTT))
    assert config.mqtt is not None
    assert config.mqtt.devices[0].silence == 2_500_000
    assert (config.mqtt.port, config.modbus, config.market) == (1883, [], None)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_config_when_an_example_is_loaded_it_is_valid(path: Path) -> None:
    assert load(path) != Config()


def test_config_when_examples_are_counted_every_protocol_has_one() -> None:
    assert [path.parent.name for path in EXAMPLES] == ["market", "modbus", "mqtt", "opcua", "sparkplug"]


def test_config_when_many_things_are_wrong_names_all_of_them_with_key_and_what_is_allowed(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
[mqtt]
host = "127.0.0.1"
prot = 1883
port = "1883"
protocol = "4"
devices = []
subscriptions = [{ filter = "a/#/b", points = [{ name = "so c", unit = "%" }] }]

[[modbus]]
name = "m1"
host = "127.0.0.1"
[[modbus.registers]]
point = "p"
kind = "holding"
address = 1
type = "int17"
""",
    )
    by_key = dict(problem.split(": ", 1) for problem in found)
    assert set(by_key) == {
        "mqtt.prot",
        "mqtt.port",
        "mqtt.protocol",
        "mqtt.devices",
        "mqtt.subscriptions[0].filter",
        "mqtt.subscriptions[0].points[0].name",
        "modbus[0].registers[0].type",
        "modbus[0].registers[0].unit",
    }
    assert "did you mean port?" in by_key["mqtt.prot"]
    assert "'1883'" in by_key["mqtt.port"]
    assert "'5' or '3.1.1'" in by_key["mqtt.protocol"]
    assert "last one" in by_key["mqtt.subscriptions[0].filter"]
    assert "'int16'" in by_key["modbus[0].registers[0].type"]
    assert by_key["modbus[0].registers[0].unit"] == "is missing and has no default"


def test_config_when_a_section_is_misspelt_names_the_allowed_ones(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MQTT + "\n[markt]\nseed = 1\n")
    allowed = "mqtt, sparkplug, modbus, opcua, market, recorded, websocket, fix, drop_copy, store, changes"
    assert found == f"markt: is no known key; did you mean market? allowed here: {allowed}"


def test_config_when_a_union_member_is_wrong_names_the_key_of_the_file_once(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, '[market]\nspeed = "fast"\n')
    assert found.startswith("market.speed: ")
    assert "'max'" in found


def test_config_when_two_protocols_name_the_same_device_says_where(tmp_path: Path) -> None:
    text = MQTT + '[[modbus]]\nname = "battery-1"\nhost = "127.0.0.1"\n'
    text += '[[modbus.registers]]\npoint = "p"\nkind = "holding"\naddress = 1\ntype = "int16"\nunit = "MW"\n'
    (found,) = problems(tmp_path, text)
    assert found.startswith("modbus[0].name: the device name 'battery-1' is taken by mqtt.devices[0].name")


def test_config_when_a_device_has_a_point_twice_says_which(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MQTT.replace('{ name = "soc"', '{ name = "soc", unit = "1" }, { name = "soc"'))
    assert found == "mqtt.subscriptions[0]: points named twice: soc"


@pytest.mark.parametrize(
    ("text", "words"),
    [("[mqtt", "not valid TOML"), ("", "names no connector"), ("mqtt = 3\n", "mqtt: is 3")],
)
def test_config_when_the_file_is_no_settings_says_so(tmp_path: Path, text: str, words: str) -> None:
    assert words in problems(tmp_path, text)[0]


def test_config_when_the_file_is_absent_or_not_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        load(tmp_path / "latin.toml")


def test_config_when_a_password_stands_in_the_file_refuses_without_repeating_it(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, MQTT.replace("devices", 'username = "u"\npassword = "hunter2"\ndevices'))
    assert found == "mqtt.password: secrets do not stand in this file; use password_env or password_file instead"
    (found,) = problems(tmp_path, MQTT.replace("devices", 'username = "u"\npassword_env = "hunter 2"\ndevices'))
    assert "hunter" not in found


def test_config_when_the_password_is_elsewhere_reads_it_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = MQTT.replace("devices", 'username = "u"\npassword_env = "GRIDTAPE_TEST_PASSWORD"\ndevices')
    (found,) = problems(tmp_path, text)
    assert "environment variable is not set" in found
    monkeypatch.setenv("GRIDTAPE_TEST_PASSWORD", "one")
    config = load(write(tmp_path, text))
    assert config.mqtt is not None
    assert config.mqtt.password() == "one"

    (tmp_path / "secret").write_text("two\n", encoding="utf-8")
    config = load(write(tmp_path, text.replace('env = "GRIDTAPE_TEST_PASSWORD"', 'file = "secret"')))
    assert config.mqtt is not None
    assert config.mqtt.password() == "two"
    assert "two" not in repr(config)


@pytest.mark.parametrize(
    ("extra", "accepted"), [("", False), ("allow_plaintext = true\n", True), ("tls = {}\nport = 8883\n", True)]
)
def test_config_when_the_broker_is_another_machine_wants_tls_or_a_word(
    tmp_path: Path, extra: str, accepted: bool
) -> None:
    text = MQTT.replace('host = "127.0.0.1"\n', f'host = "broker.example"\n{extra}')
    if accepted:
        assert load(write(tmp_path, text)).mqtt is not None
    else:
        (found,) = problems(tmp_path, text)
        assert "broker.example is another machine" in found
        assert "allow_plaintext = true" in found


def test_config_when_a_tls_file_is_absent_names_it_beside_the_settings(tmp_path: Path) -> None:
    found = problems(tmp_path, MQTT.replace("devices", 'tls = { ca_file = "ca.pem", cert_file = "c.pem" }\ndevices'))
    assert f"there is no file {tmp_path / 'ca.pem'}" in found[0]
    assert found[0].startswith("mqtt.tls.ca_file: ")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("a.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("0.0.0.0", False),
    ],
)
def test_fields_when_an_address_is_this_machine_it_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_config_when_an_editor_has_left_a_mark_and_other_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "connectors.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MQTT.replace("\n", "\r\n").encode())
    assert load(path).mqtt is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[modbus]\nname = "m1"', "modbus: is a list of sections: write [[modbus]], in two brackets"),
        ("[[market]]\nrate = 1", "market: is one section: write [market], in one bracket"),
        (MQTT.replace('"127.0.0.1"', '"mqtt://127.0.0.1"'), "mqtt.host: is 'mqtt://127.0.0.1'; expected a host name"),
        ('[[websocket]]\nurl = "http://x"', "websocket[0].url: is 'http://x'; expected wss://HOST/PATH"),
    ],
)
def test_config_when_written_as_people_do_says_how_it_is_written(tmp_path: Path, text: str, said: str) -> None:
    assert any(problem.startswith(said) for problem in problems(tmp_path, text))
