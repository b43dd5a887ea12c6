"""WebSocket transport and shared subscriptions on a real Mosquitto."""

from __future__ import annotations

from itertools import count

import cbor2
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from prometheus_client import REGISTRY

from connectors.capture.frames import read
from connectors.mqtt.connector import MqttConnector
from streams.local.mqtt import Mosquitto, find_mosquitto
from streams.local.service import HOST, free_port
from tests.integration.connectors.capture.diary import Diary, captured, played

LIVE = {"connector": "mqtt", "device": "", "state": "live"}


class WebMosquitto(Mosquitto):
    """Takes WebSocket connections as well."""

    def configure(self) -> None:
        super().configure()
        self.web_port = free_port()
        path = self.folder / "mosquitto.conf"
        path.write_text(path.read_text() + f"listener {self.web_port} {HOST}\nprotocol websockets\n")


@pytest.fixture
def web(tmp_path):
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (Debian: apt-get install mosquitto)")
    with WebMosquitto(tmp_path / "mosquitto") as broker:
        yield broker


def is_live():
    return REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_mqtt_when_carried_by_websocket_brings_every_sample(web, settings, running, tape, field_device, protocol):
    config = settings((HOST, web.web_port), transport="websocket", protocol=protocol)
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(is_live, "connected")
        device = field_device((HOST, web.port))
        for number in range(1, 51):
            device.sample(number, number)
        tape.until(lambda: len(tape.samples("soc")) == 50, "all samples")
    assert [s.value for s in tape.samples("soc")] == list(range(1, 51))


def test_recording_when_mqtt_is_carried_by_websocket_plays_back_every_sample(web, tmp_path, monkeypatch, field_device):
    text = f"""
[mqtt]
host = "{HOST}"
port = {web.web_port}
transport = "websocket"
client_id = "recorded"
devices = [{{ name = "b1" }}]
[[mqtt.subscriptions]]
filter = "plain/{{device}}/{{point}}"
payload = "number"
points = [{{ name = "flow", unit = "m3/h" }}]
"""
    device, numbers = field_device((HOST, web.port)), count(1)

    def run(found: Diary) -> bool:
        device.raw("plain/b1/flow", str(next(numbers)).encode())
        return len(found.history) > 5

    then = captured(tmp_path, text, monkeypatch, run)
    frames = read(tmp_path / "tape.jsonl")[1]
    assert f"Origin: http://{HOST}:{web.web_port}\r\n".encode() in frames[1].data, "the broker is called by its name"
    values = [[one[1] for one in each.history] for each in (then, played(tmp_path / "tape.jsonl", tmp_path / "c.toml"))]
    assert values[1][:5] == values[0][:5] == [values[0][0] + number for number in range(5)]


def test_mqtt_when_the_port_speaks_no_websocket_says_so(mosquitto, settings, running, tape):
    with running(lambda publisher: MqttConnector(settings(mosquitto, transport="websocket"), publisher)):
        tape.until(lambda: tape.gaps("disconnected"), "refused")
    assert "cannot connect to" in tape.gaps("disconnected")[0].detail


def test_mqtt_when_subscriptions_are_shared_each_message_comes_once_and_no_gap_is_claimed(
    mosquitto, device, settings, running, tape
):
    first = settings(mosquitto, share="plant")
    second = settings(mosquitto, share="plant")
    with (
        running(lambda publisher: MqttConnector(first, publisher)),
        running(lambda publisher: MqttConnector(second, publisher)),
    ):
        tape.until(is_live, "connected")
        device.sample(0, 1)
        tape.until(lambda: tape.samples("soc"), "the first sample")
        for number in range(1, 41):
            device.sample(number, number + 1)
        tape.until(lambda: len(tape.samples("soc")) == 41, "all samples")
    assert sorted(s.value for s in tape.samples("soc")) == list(range(41))
    assert not tape.gaps()


def test_mqtt_when_the_payload_is_cbor_the_sample_reaches_kafka(mosquitto, device, settings, running, tape):
    subscription = {
        "filter": "cbor/{device}/{point}",
        "payload": "cbor",
        "json": {"value": "v"},
        "points": [{"name": "flow", "unit": "m3/h"}],
    }
    with running(lambda publisher: MqttConnector(settings(mosquitto, subscriptions=[subscription]), publisher)):
        tape.until(is_live, "connected")
        device.raw("cbor/b1/flow", cbor2.dumps({"v": 1180.5}))
        device.raw("cbor/b1/flow", b"\x81")
        tape.until(lambda: tape.samples("flow") and tape.letters(), "a sample and a dead letter")
    assert tape.samples("flow")[0].value == 1180.5
    assert "not valid CBOR" in tape.letters()[0].reason


def test_mqtt_when_a_message_has_properties_they_are_headers_of_the_record(
    mosquitto, settings, running, tape, cluster, field_device
):
    with running(lambda publisher: MqttConnector(settings(mosquitto), publisher)):
        tape.until(is_live, "connected")
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = "text/plain"
        for pair in (("site", "north"), ("ce_id", "not ours"), ("site", "süd")):
            properties.UserProperty = pair
        field_device(mosquitto, protocol=paho.MQTTv5).raw("plain/b1/flow", b"7", properties=properties)
        tape.until(lambda: tape.samples("flow"), "the sample")
    reader = cluster.reader("headers")
    reader.subscribe([cluster.named("telemetry")])
    (message,) = reader.consume(1, 20)
    reader.close()
    said = message.headers()
    assert [(name, raw.decode()) for name, raw in said if name.startswith("mqtt_")] == [
        ("mqtt_content_type", "text/plain"),
        ("mqtt_user_site", "north"),
        ("mqtt_user_ce_id", "not ours"),
        ("mqtt_user_site", "süd"),
    ]
    assert dict(said)["content-type"] == b"application/json"
    assert dict(said)["ce_id"].startswith(b"plain/b1/flow/")
