"""Against edge nodes of the npm package sparkplug-client, on a real Mosquitto and a real Kafka."""

from __future__ import annotations

import pytest

from connectors.sparkplug.connector import SparkplugConnector
from schemas.base import Quality

VOLTAGE = {"name": "Voltage", "type": "Double", "value": 230.5}
POWER = {"name": "Power/AC", "alias": 7, "type": "Int32", "value": -42}
BIRTHS = {"node": [VOLTAGE], "devices": {"d": [POWER, {"name": "Temperature", "type": "Float", "value": 21.5}]}}


def good(tape, point):
    return [s.value for s in tape.samples(point) if s.quality is Quality.GOOD]


def test_sparkplug_when_a_node_is_born_and_sends_its_values_reach_kafka(mosquitto, settings, running, tape, npm_edge):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(lambda: len(tape.gaps("disconnected")) == 2, "nothing is known yet")
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "temperature") == [21.5], "the births")
        assert (good(tape, "Voltage"), good(tape, "power")) == ([230.5], [-42])
        assert [g.open for g in tape.gaps(device="device")] == [True, False]
        edge.do("data", device="d", metrics=[{"alias": 7, "type": "Int32", "value": 17}])
        edge.do("data", metrics=[{**VOLTAGE, "value": 231.0, "timestamp": 1_795_244_400_250}])
        tape.until(lambda: len(good(tape, "power")) == 2 and len(good(tape, "Voltage")) == 2, "the data")
    assert good(tape, "power") == [-42, 17]
    assert tape.samples("Voltage")[1].event_time == 1_795_244_400_250_000
    assert not tape.letters()


@pytest.mark.parametrize("algorithm", ["DEFLATE", "GZIP"])
def test_sparkplug_when_data_is_compressed_it_is_read(mosquitto, settings, running, tape, npm_edge, algorithm):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "power"), "the births")
        edge.do("data", device="d", metrics=[{**POWER, "value": 5}], compress=algorithm)
        tape.until(lambda: good(tape, "power")[-1] == 5, "the data")
    assert not tape.letters()


def test_sparkplug_when_the_host_comes_after_the_node_it_asks_for_a_rebirth(
    mosquitto, settings, running, tape, npm_edge
):
    """tck-id-operational-behavior-data-commands-ncmd-rebirth-verb, -name, -value."""
    edge = npm_edge(**BIRTHS)
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        edge.until("born")
        tape.until(lambda: good(tape, "power"), "the births")
    assert {"event": "ncmd", "rebirth": True} in edge.events


def test_sparkplug_when_a_number_is_missing_the_gap_is_closed_by_the_rebirth(
    mosquitto, settings, running, tape, npm_edge
):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "power"), "the births")
        edge.do("skip")
        edge.do("data", device="d", metrics=[{**POWER, "value": 99}])
        edge.until("born")
        tape.until(lambda: [g.open for g in tape.gaps("sequence", "device")] == [True, False], "gap and rebirth")
    opened = tape.gaps("sequence", "device")[0]
    assert (opened.first, opened.last, opened.count) == (2, 2, 1)
    assert 99 not in good(tape, "power"), "it may have meant something else"
    stale = [s for s in tape.samples("power") if s.value is None]
    assert len(stale) == 1
    assert "stale: message 3 came where 2 was expected" in stale[0].reason


def test_sparkplug_when_the_node_is_killed_every_value_is_stale_at_once(mosquitto, settings, running, tape, npm_edge):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "power"), "the births")
        edge.process.kill()
        tape.until(lambda: any(s.value is None for s in tape.samples("temperature")), "the broker sends its will")
        tape.until(lambda: len(tape.gaps("disconnected")) == 6, "a gap each")
    for point in ("Voltage", "power", "temperature"):
        last = tape.samples(point)[-1]
        assert (last.value, last.quality) == (None, Quality.BAD)
        assert "NDEATH" in last.reason


def test_sparkplug_when_a_device_dies_it_alone_is_stale(mosquitto, settings, running, tape, npm_edge):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "power"), "the births")
        edge.do("device-death", device="d", metrics=[])
        edge.do("data", metrics=[{**VOLTAGE, "value": 232.0}])
        tape.until(lambda: good(tape, "Voltage")[-1:] == [232.0], "the node goes on")
    assert tape.samples("power")[-1].value is None
    assert [s.value for s in tape.samples("Voltage")] == [230.5, 232.0]
