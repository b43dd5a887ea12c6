"""What fails in the field, on a real Mosquitto and a real Kafka."""

from __future__ import annotations

import json
import threading
import time

from prometheus_client import REGISTRY

from connectors.mqtt.connector import MqttConnector
from schemas.base import Quality
from schemas.telemetry import Telemetry

LIVE = {"connector": "mqtt", "device": "", "state": "live"}
SETTINGS = """
[mqtt]
host = "127.0.0.1"
port = {port}
client_id = "{client_id}"

[[mqtt.devices]]
name = "b1"
silence = 3600

[[mqtt.subscriptions]]
filter = "killed/{{device}}/{{point}}"
json = {{ time = "time", time_format = "us", sequence = "sequence" }}
points = [{{ name = "soc", unit = "%" }}]
"""
HALF = 200


def is_live():
    return REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1


def values(tape):
    return [s.value for s in tape.samples("soc")]


def test_mqtt_when_the_connector_is_killed_no_message_is_missing_and_repeats_have_their_ids(
    mosquitto, device, cluster, tape, process
):
    text = SETTINGS.format(port=mosquitto[1], client_id=f"killed-{time.time_ns()}")
    killed = threading.Event()

    def say(number, **how):
        sample = {"value": number, "sequence": number, "time": time.time_ns() // 1000}
        device.raw("killed/b1/soc", json.dumps(sample).encode(), **how)

    def tell():
        for number in range(1, 2 * HALF + 1):
            if number == HALF:
                killed.wait(30)
            say(number)

    teller = threading.Thread(target=tell)
    say(0, retain=True)  # is there whenever the subscription is
    with process(text, cluster.bootstrap, prefix=cluster.prefix):
        tape.until(lambda: values(tape), "the subscription")
        teller.start()
        tape.until(lambda: len(values(tape)) > 20, "in the midst of it")
    killed.set()
    with process(text, cluster.bootstrap, prefix=cluster.prefix):
        tape.until(lambda: set(values(tape)) == set(range(2 * HALF + 1)), "all samples")
    teller.join(30)
    assert all(s.value == s.sequence for s in tape.samples("soc"))
    assert len({identity for identity in tape.ids if identity.startswith("b1/soc/")}) == 2 * HALF + 1
    assert not [gap for gap in tape.gaps("sequence") if gap.count], "no number is missing"


def test_mqtt_when_the_cable_is_pulled_the_gap_opens_and_nothing_is_missing_afterwards(
    mosquitto, device, settings, running, tape, cable
):
    line = cable(mosquitto[1])
    config = settings(line.address, keepalive=1)
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(is_live, "connected")
        device.sample(1, 1)
        tape.until(lambda: values(tape), "the first sample")
        line.pull()
        for number in range(2, 11):
            device.sample(number, number)
        tape.until(lambda: tape.gaps("disconnected"), "noticed")
        line.plug()
        tape.until(lambda: set(values(tape)) == set(range(1, 11)), "all samples")
        tape.until(lambda: len(tape.gaps()) == 2, "the gap closes")
    opened, closed = tape.gaps()
    assert "Keep alive timeout" in opened.detail
    assert (opened.key, opened.open, closed.open, closed.gap_id) == ("b1", True, False, opened.gap_id)


def test_mqtt_when_a_device_reboots_its_new_numbers_are_taken_and_the_gap_says_so(
    mosquitto, device, settings, running, tape
):
    """Its clock is not set at first: such times are no samples, and nothing is stamped in their place."""
    with running(lambda publisher: MqttConnector(settings(mosquitto), publisher)):
        tape.until(is_live, "connected")
        for number in (500, 501):
            device.sample(number, number)
        device.sample(1, 1, time=12_000_000)
        for number in (2, 3):
            device.sample(number, number)
        tape.until(lambda: values(tape)[-1:] == [3], "the samples after the reboot")
        tape.until(tape.letters, "the sample from 1970")
    assert values(tape) == [500, 501, 2, 3]
    assert "outside the years 2000 to 2099" in tape.letters()[0].reason
    opened, closed = tape.gaps()
    assert (opened.reason, opened.count, opened.open, closed.open) == ("sequence", None, True, False)
    assert "the source counts anew: number 2 followed 501" in opened.detail


def test_mqtt_when_clocks_jump_no_time_is_changed_and_silence_is_measured_as_ever(
    mosquitto, device, settings, running, tape, machine_clock
):
    hour = 3_600_000_000
    config = settings(mosquitto, devices=[{"name": "b1", "silence": 1800}, {"name": "b2", "silence": 0.2}])
    with running(lambda publisher: MqttConnector(config, publisher)):
        tape.until(is_live, "connected")
        now = time.time_ns() // 1000
        for number, ahead in ((1, hour), (2, -hour), (3, 0)):
            device.sample(number, number, time=now + ahead)
        tape.until(lambda: values(tape) == [1, 2, 3], "the device's clock has jumped")
        machine_clock.jump(hour)
        machine_clock.until_read(3)
        device.sample(4, 4)
        tape.until(lambda: values(tape) == [1, 2, 3, 4], "the machine's clock has jumped")
        assert not tape.gaps("silence", "b1"), "half an hour has not passed"
        machine_clock.jump(-2 * hour)
        before = len(tape.gaps("silence", "b2"))
        device.raw("plain/b2/flow", b"7")
        tape.until(lambda: tape.gaps("silence", "b2")[before:][-1:] and tape.gaps("silence", "b2")[-1].open, "silence")
    samples = tape.samples("soc")
    assert [s.event_time for s in samples[:3]] == [now + hour, now - hour, now]
    assert [s.quality for s in samples[:3]] == [Quality.UNCERTAIN, Quality.GOOD, Quality.GOOD]
    times = [record.receive_time for record in tape.records if isinstance(record, Telemetry)]
    assert times == sorted(set(times)), "receive times never go back"


def test_mqtt_when_a_message_is_larger_than_allowed_the_broker_keeps_it_back_and_the_gap_says_so(
    mosquitto, device, settings, running, tape
):
    with running(lambda publisher: MqttConnector(settings(mosquitto, max_packet_bytes=50_000), publisher)):
        tape.until(is_live, "connected")
        device.sample(1, 1)
        device.sample(2, 2, blob="x" * 60_000)
        device.sample(3, 3)
        tape.until(lambda: values(tape) == [1, 3], "the next one")
        tape.until(tape.gaps, "the gap")
    (gap,) = tape.gaps()
    assert (gap.reason, gap.first, gap.last, gap.open) == ("sequence", 2, 2, True)
