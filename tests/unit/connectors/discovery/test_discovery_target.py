"""Where to look: addresses, and settings files with the connection only."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomlkit

from connectors.config import ConfigError
from connectors.discovery.document import written
from connectors.discovery.target import TargetError, addressed, beside, places, stored

CONNECTION = """
[mqtt]
host = "10.1.2.3"
allow_plaintext = true   # the plant's own network
session_expiry = 60

[[opcua]]
name = "a"
url = "opc.tcp://127.0.0.1:4840"

[[opcua]]
name = "b"
url = "opc.tcp://127.0.0.1:4841"
"""


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("mqtt://127.0.0.1", "mqtt", {"host": "127.0.0.1", "port": 1883}),
        ("mqtts://plc.example", "mqtt", {"host": "plc.example", "port": 8883}),
        ("opc.tcp://localhost:4840/a/b", "opcua", {"name": "opcua-1", "url": "opc.tcp://localhost:4840/a/b"}),
        ("modbus://[::1]:1502?unit=7", "modbus", {"name": "modbus-1", "host": "::1", "port": 1502, "unit_id": 7}),
    ],
)
def test_address_when_read_becomes_a_connection(address, kind, said):
    document = addressed(address, allow_plaintext=False)
    (place,) = places(tomlkit.parse(tomlkit.dumps(document)), address, Path())
    assert (place.kind, {key: place.table[key] for key in said}) == (kind, said)


@pytest.mark.parametrize("address", ["mqtt://plc.example", "opc.tcp://10.0.0.7:4840", "modbus://10.0.0.7"])
def test_address_when_it_is_another_machine_in_plaintext_needs_words(address):
    with pytest.raises(TargetError, match=r"would not be encrypted.*--allow-plaintext"):
        addressed(address, allow_plaintext=False)
    (place,) = places(addressed(address, allow_plaintext=True), address, Path())
    assert place.table["allow_plaintext"] is True


@pytest.mark.parametrize(
    "address",
    [
        *("mqtt://", "mqtt://h:port", "ftp://h", "mqtt://[h"),
        *("modbus://h?unit=x", "modbus://h?id=1", "modbus://h/7", "mqtt://h/plants/%23", "mqtt://h?topic=a"),
    ],
)
def test_address_when_it_is_none_says_what_is_expected(address):
    with pytest.raises(TargetError, match=r"expected mqtt://HOST|behind the port"):
        addressed(address, allow_plaintext=True)


def test_file_when_it_holds_connections_only_gives_each_its_place(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(CONNECTION)
    found = places(stored(file), file, tmp_path)
    assert [place.kind for place in found] == ["mqtt", "opcua", "opcua"]
    assert beside(found[0]).table.unwrap() == {
        "host": "10.1.2.3", "allow_plaintext": True, "client_id": "gridtape-sparkplug",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[mqtt]\nhost = "h"\nsubscriptions = []\nallow_plaintext = true',
            "mqtt.subscriptions: says already what is read",
        ),
        ('[mqtt]\nhost = "h"', "mqtt.host: h is another machine|mqtt.*would not be encrypted"),
        ('[mqtt]\nhost = "127.0.0.1"\npassword = "x"', "secrets do not stand in this file"),
        ("[market]\nrate = 1", "market: nothing can be looked for there; allowed: mqtt, sparkplug, opcua, modbus"),
        ("mqtt = 3", r"mqtt: write it as one section, \[mqtt\]"),
        ('opcua = { url = "opc.tcp://127.0.0.1" }', r"opcua: write it as one section, \[\[opcua\]\]"),
        ('[modbus]\nhost = "127.0.0.1"', r"modbus: write it as one section, \[\[modbus\]\]"),
        ('[[opcua]]\nname = "a"\n[[opcua]]\nname = "b c"', r"opcua\[0\].url: is missing[^!]*opcua\[1\].name: is 'b c'"),
        ('[[modbus]]\nname = "a"\nhost = "127.0.0.1"\nunit_id = 1\nunit = 1', r"modbus\[0\].unit: is no known key"),
        ("", "names no connection"),
    ],
)
def test_file_when_it_is_not_that_says_what_is_wrong(tmp_path, text, words):
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        places(stored(file), file, tmp_path)


def test_file_when_devices_have_a_template_takes_the_connection_from_it(tmp_path):
    file, template = tmp_path / "c.toml", tmp_path / "kind.toml"
    file.write_text('[[modbus]]\nname = "a"\ntemplate = "kind.toml"\n')
    template.write_text('host = "127.0.0.1"\nport = 1502\n')
    (place,) = places(stored(file), file, tmp_path)
    assert (place.connection.host, place.connection.port, place.table.keys()) == (
        "127.0.0.1",
        1502,
        {"name", "template"},
    )
    template.write_text('host = "127.0.0.1"\nregisters = []\n')
    with pytest.raises(ConfigError, match=r"kind\.toml: registers: says already what is read"):
        places(stored(file), file, tmp_path)


def test_file_when_there_is_none_says_what_else_was_expected(tmp_path):
    with pytest.raises(TargetError, match=r"127.0.0.1:1883 is neither a file nor an address .* expected mqtt://HOST"):
        stored(Path("127.0.0.1:1883"))


def test_document_when_a_section_has_a_table_below_puts_lists_before_it(tmp_path):
    document = tomlkit.parse('[[modbus]]\nname = "a"\nhost = "127.0.0.1"\n[modbus.tls]\nmin_version = "1.3"\n')
    register = {"point": "p", "kind": "coil", "address": 0, "type": "bool", "unit": "1"}
    document["modbus"][0].add("registers", [register])
    assert "min_version" in written(document, tmp_path / "c.toml")
