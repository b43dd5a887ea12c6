"""What a rehearsal keeps away from, what it notes, and how recordings are read."""

from __future__ import annotations

import pytest
from msgspec import structs

from connectors.capture.addresses import redirected, unrecorded
from connectors.capture.dialects import SPARKPLUG
from connectors.capture.frames import CaptureError, Direction, Frame, Header, Writer, read
from connectors.capture.rehearsal import Notebook, apart, configured
from connectors.config import check
from schemas import topics
from schemas.gaps import Feed, Gap, GapReason
from schemas.telemetry import Telemetry

AT = 1_700_000_000_000_000
POINT = {"name": "p", "unit": "1"}
SETTINGS = {
    "mqtt": {
        "host": "localhost",
        "client_id": "real",
        "share": "s",
        "devices": [{"name": "d1"}, {"name": "d2"}],
        "subscriptions": [{"filter": "a/{device}/{point}", "points": [POINT]}],
    },
    "sparkplug": {
        "host": "localhost",
        "client_id": "real-sp",
        "host_id": "real",
        "devices": [{"name": "d3", "group": "g", "node": "n", "points": [{"metric": "m", "unit": "1"}]}],
    },
    "drop_copy": [
        {
            "name": "desk",
            "host": "localhost",
            "port": 9,
            "sender": "A",
            "target": "B",
            "store": "x.db",
            "venue": "V",
            "default_book": "b",
            "instruments": [{"instrument": "I", "currency": "EUR"}],
        }
    ],
}


def test_rehearsal_when_beside_the_real_connector_has_names_of_its_own_and_takes_nothing(tmp_path):
    real = check(SETTINGS, tmp_path / "c.toml")
    config, left_out = apart(real)
    assert config.mqtt.client_id != real.mqtt.client_id
    assert config.sparkplug.client_id != real.sparkplug.client_id
    assert config.sparkplug.host_id != real.sparkplug.host_id
    assert (config.mqtt.session_expiry, config.mqtt.share) == (0, None)
    assert config.drop_copy == []
    assert left_out == ["desk: a drop copy is not tried, because what it delivers it does not deliver again"]
    assert list(configured(config)) == [("d3", "m", "1"), ("d1", "p", "1"), ("d2", "p", "1")]


def test_notebook_when_closed_keeps_what_it_has_and_still_takes_all():
    found, said = Notebook(), []
    sample = Telemetry(device="d", point="p", value=1.0, unit="1", sequence=1, event_time=AT, receive_time=AT)
    gap = Gap(
        gap_id="g", feed=Feed.TELEMETRY, key="d", reason=GapReason.SILENCE, open=True, event_time=AT, receive_time=AT
    )
    found.publish(topics.telemetry, "d", sample, event_id="1", done=said.append)
    found.publish(topics.gaps, "d", gap, event_id="2")
    assert found.gaps == {"g": gap}
    found.publish(topics.gaps, "d", structs.replace(gap, open=False), event_id="3")
    assert found.gaps == {}
    found.close()
    found.publish(topics.telemetry, "d", structs.replace(sample, value=2.0), event_id="4", done=said.append)
    found.seen("d", "p", lambda: b"late")
    assert (found.samples["d", "p"].value, found.raw, said) == (1.0, {}, [None, None])
    assert found.complete({("d", "p")})
    assert not found.complete({("d", "p"), ("d", "q")})


def test_recording_when_written_is_read_back_bit_exact_and_by_its_owner_only(tmp_path):
    tape = tmp_path / "tape.jsonl"
    writer = Writer(tape, Header(file="c.toml", settings="x = 1", started=AT))
    every = bytes(range(256))
    writer.write(1, "h:1", Direction.SENT, every)
    writer.close()
    writer.write(1, "h:1", Direction.CLOSED)
    header, frames = read(tape)
    assert (header.settings, header.started) == ("x = 1", AT)
    assert frames == [Frame(at=frames[0].at, link=1, target="h:1", direction=Direction.SENT, data=every)]
    assert tape.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "what"), [("", ":1: "), ('{"file":"f","settings":"","started":1}\n{"at":', ":2: "), ("\xff", ":1: ")]
)
def test_recording_when_damaged_is_refused_with_its_line(tmp_path, text, what):
    tape = tmp_path / "tape.jsonl"
    tape.write_text(text)
    with pytest.raises(CaptureError, match=f"tape.jsonl{what}this is no recording"):
        read(tape)


def test_addresses_when_led_elsewhere_keep_a_gateway_together_and_name_what_is_left_out(tmp_path):
    register = {"point": "p", "kind": "coil", "address": 0, "type": "bool", "unit": "1"}
    unit = {"registers": [register], "host": "localhost", "port": 5020}
    line = {"registers": [register], "serial": {"port": "/dev/ttyS0"}, "framing": "rtu"}
    modbus = [{"name": "u1", **unit}, {"name": "u2", **unit, "unit_id": 2}, {"name": "line-1", **line}]
    config = check({**SETTINGS, "modbus": modbus}, tmp_path / "c.toml")
    placed = []

    def place(host, port, tls, dialect):
        placed.append((host, port, tls, dialect))
        return 40_000 + len(placed)

    led = redirected(config, place)
    assert placed == [
        ("localhost", 5020, None, None),
        ("localhost", 1883, None, None),
        ("localhost", 1883, None, SPARKPLUG),
    ]
    assert [(one.name, one.host, one.port) for one in led.modbus] == [
        ("u1", "127.0.0.1", 40_001),
        ("u2", "127.0.0.1", 40_001),
    ]
    assert (led.mqtt.port, led.sparkplug.port, led.drop_copy) == (40_002, 40_003, [])
    assert unrecorded(config) == ["line-1: a serial line of this machine"]
