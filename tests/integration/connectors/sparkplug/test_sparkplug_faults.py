"""What a good edge node never does, on a real Mosquitto and a real Kafka."""

from __future__ import annotations

import time

from connectors.sparkplug.address import Verb
from connectors.sparkplug.connector import SparkplugConnector
from connectors.sparkplug.payload import DataType, Limits, decode
from connectors.sparkplug.simulator import double, properties
from schemas.base import Quality


def born(edge, *, power=1.0, **more):
    edge.birth(double("Voltage", 230.0))
    edge.say(Verb.DBIRTH, "d", [double("Power/AC", power, alias=7, **more), double("Temperature", None)])


def test_sparkplug_when_values_are_doubtful_they_keep_their_number_and_say_why(
    mosquitto, settings, running, tape, edge, watch
):
    now = time.time_ns() // 1_000_000
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        born(edge)
        tape.until(lambda: tape.samples("power"), "the birth")
        cases = [
            double(None, 150.0, alias=7),
            double(None, 2.0, alias=7, properties=properties(Quality=0)),
            double(None, 3.0, alias=7, properties=properties(Quality=500)),
            double(None, 4.0, alias=7, properties=properties(engUnit="MW")),
            double(None, 5.0, alias=7, timestamp=now - 3_600_000, is_historical=True),
            double(None, 6.0, alias=7, timestamp=now + 7_200_000),
            double(None, float("nan"), alias=7),
        ]
        edge.say(Verb.DDATA, "d", cases)
        tape.until(lambda: len(tape.samples("power")) == 8, "all of them")
        edge.say(Verb.DDATA, "d", [double(None, 5.0, alias=7, timestamp=1)])
        tape.until(tape.letters, "a clock that was never set")
    found = [(s.value, s.quality, s.reason) for s in tape.samples("power")[1:]]
    words = ["outside -100 to 100", "says bad (0)", "says stale (500)", "unit is 'MW'", "historical", "ahead", "nan"]
    for (_, _, reason), word in zip(found, words, strict=True):
        assert word in reason
    said = ["uncertain", "bad", "uncertain", "bad", "good", "uncertain", "bad"]
    assert [quality.value for _, quality, _ in found] == said
    assert [value for value, _, _ in found] == [150.0, 2.0, 3.0, 4.0, 5.0, 6.0, None]
    assert tape.samples("power")[5].event_time == (now - 3_600_000) * 1000, "nothing is stamped anew"
    assert tape.samples("temperature")[0].quality is Quality.BAD, "null"


def test_sparkplug_when_the_node_dies_and_comes_back_the_gaps_open_and_close(
    mosquitto, settings, running, tape, edge, die, watch
):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        born(edge)
        tape.until(lambda: tape.samples("power"), "the birth")
        die()
        tape.until(lambda: len(tape.samples("power")) == 2, "stale")
        edge.say(Verb.DDATA, "d", [double(None, 9.0, alias=7)])
        edge.bdseq = 1
        born(edge, power=2.0)
        tape.until(lambda: len(tape.samples("power")) == 3 and len(tape.gaps(device="device")) == 4, "born again")
    assert [s.value for s in tape.samples("power")] == [1.0, None, 2.0]
    assert [g.open for g in tape.gaps(device="device")] == [True, False, True, False]
    assert tape.gaps(device="device")[2].event_time <= tape.samples("power")[1].event_time


def test_sparkplug_when_payloads_are_hostile_each_is_a_dead_letter_and_the_rest_goes_on(
    mosquitto, settings, running, tape, edge, watch
):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto, max_payload_bytes=50_000), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        born(edge)
        tape.until(lambda: tape.samples("power"), "the birth")
        for payload in (b"\x12\x00" * 30_000, b"\xff" * 20, b"\x12\x00" * 24_000):
            watch.client.publish(edge.topic(Verb.DDATA, "d"), payload)
        watch.client.publish(edge.topic(Verb.DDATA, "d"), b"old", retain=True)
        watch.client.publish(edge.topic(Verb.DDATA, "d"), b"", retain=True)
        tape.until(lambda: len(tape.letters()) >= 3, "dead letters")
        edge.say(Verb.DDATA, "d", [double(None, 9.0, alias=7)])
        tape.until(lambda: any(s.value == 9.0 for s in tape.samples("power")), "the next good one")
    reasons = [letter.reason for letter in tape.letters()]
    for words in ("max_payload_bytes is 50000", "not a Sparkplug B payload", "more than 20000 metrics"):
        assert any(words in reason for reason in reasons), reasons


def test_sparkplug_when_requests_are_in_vain_they_become_rarer(mosquitto, settings, running, tape, edge, watch):
    """tck-id-operational-behavior-data-commands-ncmd-rebirth-verb, -name, -value; tck-id-payloads-ncmd-seq, -qos,
    -retain, -timestamp; tck-id-operational-behavior-host-reordering-rebirth."""
    with running(lambda outlet: SparkplugConnector(settings(mosquitto, rebirth_interval=0.2), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        born(edge)
        edge.seq += 1
        began = time.monotonic()
        while len(watch.on("/NCMD/")) < 3:
            edge.say(Verb.DDATA, "d", [double(None, 9.0, alias=7)])
            tape.read(0.02)
            assert time.monotonic() - began < 30
        lasted = time.monotonic() - began
    assert lasted > 0.2 + 0.4, "0.2 s after the first, 0.4 s after the second"
    topic, raw, qos, retained = watch.on("/NCMD/")[0]
    payload = decode(raw, Limits())
    assert (topic, qos, retained) == (edge.node.commands, 0, False)
    assert (payload.seq, payload.metrics[0].datatype, payload.metrics[0].raw.boolean_value) == (
        None,
        DataType.Boolean,
        True,
    )
    assert payload.timestamp is not None
