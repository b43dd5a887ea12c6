"""MQTT into Kafka on a real broker and a real Kafka."""

from __future__ import annotations

import json
import time

import pytest
from prometheus_client import REGISTRY

from connectors.mqtt.connector import MqttConnector
from schemas.base import Quality
from schemas.gaps import GapReason

LIVE = {"connector": "mqtt", "device": "", "state": "live"}


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_mqtt_when_devices_publish_samples_reach_kafka_with_times_quality_and_ids(
    mosquitto, device, settings, running, tape, protocol
):
    config = settings(mosquitto, protocol=protocol)
    with running(lambda publisher: MqttConnector(config, publisher)):
        before = time.time_ns() // 1000
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1, "connected")
        time_of_device = before - 5_000_000
        device.sample(61.5, 1, time=time_of_device)
        device.sample(161.5, 2)
        device.sample(None, 1, point="power", quality="bad")
        device.raw("plain/b1/flow", b"1180.5")
        tape.until(lambda: len(tape.records) >= 4, "four samples")
    good, odd = tape.samples("soc")
    assert (good.device, good.value, good.unit, good.quality, good.sequence) == ("b1", 61.5, "%", Quality.GOOD, 1)
    assert good.event_time == time_of_device
    assert before <= good.receive_time <= time.time_ns() // 1000
    assert f"b1/soc/{time_of_device}/1" in tape.ids
    assert (odd.value, odd.quality) == (161.5, Quality.UNCERTAIN)
    assert [(s.value, s.quality) for s in tape.samples("power")] == [(None, Quality.BAD)]
    (plain,) = tape.samples("flow")
    assert (plain.value, plain.event_time) == (1180.5, plain.receive_time)
    assert not tape.gaps()
    assert not tape.letters()


def test_mqtt_when_payloads_are_bad_each_becomes_a_dead_letter_and_the_next_good_one_is_read(
    mosquitto, device, settings, running, tape
):
    sample = {"value": 1.0, "sequence": 1, "time": time.time_ns() // 1000}
    corpus = {
        "not valid JSON": ("plants/b1/soc", b'{"value": 1'),
        "invalid UTF-8": ("plants/b1/soc", b'{"value": "\xff\xfe"}'),
        "NaN": ("plants/b1/soc", b'{"value": NaN, "sequence": 1, "time": 1}'),
        "1e999": ("plants/b1/soc", b'{"value": 1e999, "sequence": 1, "time": 1}'),
        "text": ("plants/b1/soc", json.dumps({**sample, "value": "1.0"}).encode()),
        "missing": ("plants/b1/soc", b'{"sequence": 1, "time": 1}'),
        "1970": ("plants/b1/soc", json.dumps({**sample, "time": 0}).encode()),
        "2100": ("plants/b1/soc", json.dumps({**sample, "time": 4_102_444_800_000_000}).encode()),
        "unit": ("plants/b1/soc", json.dumps({**sample, "unit": "kW"}).encode()),
        "device": ("plants/b9/soc", json.dumps(sample).encode()),
        "point": ("plants/b1/nothing", json.dumps(sample).encode()),
        "odd name": ("plants/b1|x/soc", json.dumps(sample).encode()),
        "nan": ("plain/b1/flow", b"nan"),
        "empty": ("plain/b1/flow", b""),
        "huge": ("plants/b1/soc", b" " * 2_000_000 + json.dumps(sample).encode()),
    }
    config = settings(mosquitto)
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1, "connected")
        for topic, payload in corpus.values():
            device.raw(topic, payload)
        device.sample(61.5, 7)
        tape.until(lambda: tape.samples("soc"), "the good sample")
        tape.until(lambda: len(tape.letters()) == len(corpus), "all dead letters")
    assert [s.value for s in tape.samples("soc")] == [61.5]
    for (topic, payload), letter in zip(corpus.values(), tape.letters(), strict=True):
        assert letter.source == f"mqtt:{topic}"
        assert letter.reason
        assert letter.size == len(payload)
        assert payload.startswith(letter.raw)
    # All were acknowledged: a successor in the same session is sent none of them again.
    with running(lambda publisher: MqttConnector(config, publisher)):
        device.sample(62.5, 8)
        tape.until(lambda: len(tape.samples("soc")) == 2, "the next sample")
    assert len(tape.letters()) == len(corpus)


def test_mqtt_when_numbers_are_missing_opens_a_gap_and_closes_it_when_they_come(
    mosquitto, device, settings, running, tape
):
    config = settings(mosquitto)
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1, "connected")
        late = time.time_ns() // 1000
        for number in (1, 4):
            device.sample(50.0, number)
        device.sample(50.0, 2, time=late)
        device.sample(50.0, 3, time=late)
        device.sample(50.0, 3, time=late)
        tape.until(lambda: len(tape.samples("soc")) == 5 and len(tape.gaps()) == 2, "five samples and two gap records")
    opened, closed = tape.gaps("sequence")
    assert (opened.key, opened.point, opened.first, opened.last, opened.count) == ("b1", "soc", 2, 3, 2)
    assert (opened.open, closed.open, closed.gap_id) == (True, False, opened.gap_id)


def test_mqtt_when_a_device_is_silent_a_gap_says_so_until_it_speaks_and_one_that_never_spoke_has_that_reason(
    mosquitto, device, settings, running, tape
):
    config = settings(mosquitto, devices=[{"name": "b1", "silence": 0.2}, {"name": "b2", "silence": 3600}])
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: tape.gaps("silence"), "the gap opens")
        device.sample(50.0, 1)
        tape.until(lambda: [g.open for g in tape.gaps("silence")][:2] == [True, False], "the gap closes")
        tape.until(lambda: any(one.device == "b2" and one.reason for one in tape.devices), "why b2 is not live")
    (why, *_) = [(one.state.value, one.reason) for one in tape.devices if one.device == "b2" and one.reason]
    said = f"nothing has come from it yet since 127.0.0.1:{mosquitto[1]} is connected; is it on, does it send?"
    assert why == ("connecting", said)


def test_mqtt_when_the_broker_is_never_there_the_gap_says_so_and_it_keeps_trying(free_port, settings, running, tape):
    config = settings(("127.0.0.1", free_port))
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: tape.gaps("disconnected"), "the gap opens")
    (gap,) = tape.gaps()
    assert (gap.key, gap.reason, gap.open) == ("b1", GapReason.DISCONNECTED, True)
    assert f"cannot connect to 127.0.0.1:{free_port}" in gap.detail


def test_mqtt_when_a_last_will_comes_the_device_is_down_at_once_and_its_word_alone_brings_no_value_back(
    mosquitto, device, field_device, settings, running, tape
):
    """The broker speaks for a device that it has lost, also to a connector that was away meanwhile."""
    config = settings(mosquitto, status=[{"filter": "states/{device}"}])
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1, "connected")
        lost = field_device(mosquitto, will=("states/b1", b"offline"))
        lost.raw("states/b1", b"online", retain=True)
        device.sample(50.0, 1)
        tape.until(lambda: tape.state("b1") == "live", "live")
        lost.vanish()
        tape.until(lambda: tape.state("b1") == "down", "the last will")
        device.raw("states/b1", b"online")
        tape.until(lambda: tape.state("b1") == "connecting", "its word that it is back")
        assert [gap.open for gap in tape.gaps("disconnected")] == [True]
        device.sample(51.0, 2)
        tape.until(lambda: tape.state("b1") == "live", "its next value")
        device.raw("states/b1", b"rebooting")
        tape.until(tape.letters, "words that mean nothing known")
    (opened, closed) = tape.gaps("disconnected")
    assert (opened.open, closed.open, closed.gap_id) == (True, False, opened.gap_id)
    assert opened.detail == "states/b1 says 'offline': the device has left, or the broker has lost it (its last will)"
    assert "'rebooting', which is none of 'online', 'offline'" in tape.letters()[0].reason

    seen = len(tape.devices)
    with running(lambda publisher: MqttConnector(settings(mosquitto, status=config.status), publisher)):
        tape.until(lambda: "down" in [one.state.value for one in tape.devices[seen:]], "what the broker has kept")
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1, "connected")
        assert tape.state("b1") == "down"


def test_mqtt_when_a_payload_has_several_values_each_becomes_a_sample_and_a_missing_message_is_one_gap(
    mosquitto, device, settings, running, tape
):
    station = {
        "filter": "stations/{device}",
        "json": {"time": "ts", "time_format": "ms", "sequence": "n"},
        "points": [
            {"name": "soc", "unit": "%", "value": "battery.soc"},
            {"name": "power", "unit": "MW", "value": ["values", "id=u1.p", "v"]},
        ],
    }
    buffered = {**station, "filter": "buffered/{device}", "each": "kept"}
    config = settings(mosquitto, subscriptions=[station, buffered])
    now = time.time_ns() // 1_000_000
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(lambda: REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1, "connected")
        for number in (1, 2, 4):
            document = {
                "battery": {"soc": 60 + number},
                "values": [{"id": "u1.p", "v": number}],
                "ts": now,
                "n": number,
            }
            device.raw("stations/b1", json.dumps(document).encode())
        device.raw("stations/b1", json.dumps({"battery": {"soc": "?"}, "values": [], "ts": now, "n": 5}).encode())
        device.raw("stations/b1", json.dumps({"battery": {"soc": 66}, "ts": now, "n": 6}).encode())
        kept = [{"battery": {"soc": 70 + n}, "ts": now - 9000 + n, "n": n} for n in (1, 2, 4)]
        device.raw("buffered/b1", json.dumps({"kept": kept}).encode())
        tape.until(lambda: len(tape.samples("soc")) == 7, "the samples")
        tape.until(tape.letters, "the dead letter")
    assert [(s.value, s.sequence, s.event_time) for s in tape.samples("soc")] == [
        (61, 1, now * 1000), (62, 2, now * 1000), (64, 4, now * 1000), (66, 6, now * 1000),
        *((70 + n, n, (now - 9000 + n) * 1000) for n in (1, 2, 4)),
    ]  # fmt: skip
    assert [s.value for s in tape.samples("power")] == [1, 2, 4]
    first, second, third = tape.gaps()
    assert (first.point, first.first, first.last) == (None, 3, 3)
    assert (second.first, second.last) == (5, 5)
    assert (third.first, third.detail) == (3, "number 4 followed 2 on buffered/{device}")
    assert "soc: the field 'battery.soc'" in tape.letters()[0].reason
