"""What fails in the field, on a real Mosquitto and a real Kafka."""

from __future__ import annotations

import json
import time
from itertools import groupby, pairwise

from connectors.publisher import Publisher
from connectors.sparkplug.address import Verb
from connectors.sparkplug.connector import SparkplugConnector
from connectors.sparkplug.simulator import double
from schemas.base import Quality
from streams.engine.cluster import Cluster

SETTINGS = """
[sparkplug]
host = "127.0.0.1"
port = {port}
client_id = "killed-{group}"
host_id = "host-{group}"
reorder_timeout = 0.3
rebirth_interval = 0.5

[[sparkplug.devices]]
name = "device"
group = "{group}"
node = "n"
device = "d"
points = [{{ metric = "Power/AC", name = "power", unit = "kW" }}]
"""
POWER = {"name": "Power/AC", "alias": 7, "type": "Double", "value": 1.0}
TEMPERATURE = {"name": "Temperature", "alias": 8, "type": "Double", "value": 20.0}
BIRTHS = {"node": [], "devices": {"d": [POWER, TEMPERATURE]}}


def good(tape, point):
    return [s.value for s in tape.samples(point) if s.quality is Quality.GOOD]


def stale(tape, point):
    return [s.reason for s in tape.samples(point) if s.value is None and s.reason.startswith("stale")]


def test_sparkplug_when_kafka_is_away_reading_stops_and_afterwards_nothing_is_under_a_wrong_name(
    mosquitto, settings, cluster, late_kafka, running, tape, npm_edge, watch, machine_clock
):
    """The bounds are small and the keep-alive short, so that seconds stand for half an hour.

    STATE does not say that the host is there before it can read: nodes would send what they keep for it, in vain.
    """

    def states():
        return [json.loads(payload)["online"] for _, payload, _, _ in watch.on("/STATE/")]

    config = settings(mosquitto, receive_maximum=5, keepalive=1)
    publisher = Publisher(Cluster(late_kafka.address, prefix=cluster.prefix), "sparkplug-late", max_outstanding=3)
    with running(lambda outlet: SparkplugConnector(config, outlet), publisher):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        edge = npm_edge(**BIRTHS)
        for number in range(50):
            edge.do("data", device="d", metrics=[{"alias": 7, "type": "Double", "value": float(number)}])
        tape.until(lambda: states() == [True, False], "not reading for longer than the keep-alive")
        machine_clock.until_read(4)  # once in half a second: it would be back by now, if it came
        assert states() == [True, False]
        late_kafka.come()
        tape.until(lambda: stale(tape, "power"), "what is not known")
        edge.do("data", device="d", metrics=[{"alias": 8, "type": "Double", "value": 30.0}])
        tape.until(
            lambda: tape.samples("power")[-1].value == 1.0 and not tape.gaps(device="device")[-1].open, "rebirth"
        )
    assert [online for online, _ in groupby(states())] == [True, False, True, False], "the last is the connector's end"
    assert "was not read, because too much waits for Kafka" in stale(tape, "power")[0]
    found = good(tape, "power")
    assert found[-1] == found[0] == 1.0, "the birth"
    read = found[1 : found.index(1.0, 1)]
    assert read == [float(number) for number in range(len(read))], "as far as it was read, in order"
    assert set(good(tape, "temperature")) <= {20.0, 30.0}


def test_sparkplug_when_the_connector_is_killed_its_will_says_so_and_the_next_start_asks_for_births(
    mosquitto, cluster, tape, process, npm_edge, watch, group
):
    text = SETTINGS.format(port=mosquitto[1], group=group)
    with process(text, cluster.bootstrap, prefix=cluster.prefix):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "power"), "the births")
    tape.until(lambda: len(watch.on("/STATE/")) == 2, "the will")
    assert json.loads(watch.on("/STATE/")[1][1])["online"] is False
    edge.do("data", device="d", metrics=[{"alias": 7, "type": "Double", "value": 2.0}])
    before = len(tape.gaps())
    with process(text, cluster.bootstrap, prefix=cluster.prefix):
        tape.until(lambda: len(good(tape, "power")) == 2, "born anew")
        tape.until(lambda: len(tape.gaps()) == before + 2, "gap and rebirth")
    assert good(tape, "power") == [1.0, 1.0], "what was said while nobody was there is not known"
    assert "the connector starts" in tape.gaps()[-2].detail
    assert [gap.open for gap in tape.gaps()[-2:]] == [True, False]


def test_sparkplug_when_the_hosts_cable_is_pulled_every_value_is_stale_until_the_rebirth(
    mosquitto, settings, running, tape, cable, npm_edge, watch
):
    line = cable(mosquitto[1])
    with running(lambda outlet: SparkplugConnector(settings(line.address, keepalive=1), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        edge = npm_edge(**BIRTHS)
        tape.until(lambda: good(tape, "power") and good(tape, "temperature"), "the births")
        line.pull()
        edge.do("data", device="d", metrics=[{"alias": 7, "type": "Double", "value": 2.0}])
        tape.until(lambda: stale(tape, "power") and stale(tape, "temperature"), "noticed")
        line.plug()
        tape.until(lambda: len(good(tape, "power")) == 2, "born anew")
    assert "Keep alive timeout" in stale(tape, "power")[0]
    assert [gap.open for gap in tape.gaps(device="device")][:4] == [True, False, True, False]


def test_sparkplug_when_messages_or_an_old_death_come_late_the_order_is_kept(
    mosquitto, settings, running, tape, edge, die, watch
):
    with running(lambda outlet: SparkplugConnector(settings(mosquitto, reorder_timeout=10), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        edge.bdseq = 1
        edge.birth()
        edge.say(Verb.DBIRTH, "d", [double("Power/AC", 0.0, alias=7)])
        for place, number in ((3, 2.0), (2, 1.0), (4, 3.0)):
            edge.seq = place
            edge.say(Verb.DDATA, "d", [double(None, number, alias=7)])
        edge.bdseq = 0
        die()
        edge.say(Verb.DDATA, "d", [double(None, 4.0, alias=7)])
        tape.until(lambda: good(tape, "power")[-1:] == [4.0], "all of them")
    assert good(tape, "power") == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [gap.open for gap in tape.gaps(device="device")] == [True, False], "of the start only"


def test_sparkplug_when_a_node_comes_back_with_other_aliases_values_keep_their_names(
    mosquitto, settings, running, tape, npm_edge, watch
):
    swapped = {"node": [], "devices": {"d": [{**POWER, "alias": 8}, {**TEMPERATURE, "alias": 7}]}}
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        first = npm_edge(**BIRTHS)
        first.do("data", device="d", metrics=[{"alias": 7, "type": "Double", "value": 2.0}])
        tape.until(lambda: good(tape, "power") == [1.0, 2.0], "data by alias")
        first.process.kill()
        tape.until(lambda: stale(tape, "power") and stale(tape, "temperature"), "dead")
        second = npm_edge(**swapped)
        second.do("data", device="d", metrics=[{"alias": 7, "type": "Double", "value": 21.0}])
        tape.until(lambda: good(tape, "temperature")[-1:] == [21.0], "data by its new alias")
    assert good(tape, "power") == [1.0, 2.0, 1.0]
    assert good(tape, "temperature") == [20.0, 20.0, 21.0]


def test_sparkplug_when_clocks_jump_no_time_is_changed_and_late_messages_are_waited_for_as_long_as_ever(
    mosquitto, settings, running, tape, edge, watch, machine_clock
):
    hour = 3_600_000
    with running(lambda outlet: SparkplugConnector(settings(mosquitto, reorder_timeout=3), outlet)):
        tape.until(lambda: watch.on("/STATE/"), "connected")
        edge.birth()
        edge.say(Verb.DBIRTH, "d", [double("Power/AC", 0.0, alias=7)])
        now = time.time_ns() // 1_000_000
        for number, ahead in ((1.0, hour), (2.0, -hour)):
            edge.say(Verb.DDATA, "d", [double(None, number, alias=7, timestamp=now + ahead)])
        tape.until(lambda: len(tape.samples("power")) == 3, "the device's clock has jumped")
        edge.seq = 5
        edge.say(Verb.DDATA, "d", [double(None, 4.0, alias=7)])
        machine_clock.jump(hour * 1000)
        edge.seq = 4
        edge.say(Verb.DDATA, "d", [double(None, 3.0, alias=7)])
        tape.until(lambda: len(tape.samples("power")) == 5, "the machine's clock has jumped, the order is kept")
        machine_clock.jump(-2 * hour * 1000)
        edge.seq = 7
        edge.say(Verb.DDATA, "d", [double(None, 6.0, alias=7)])
        tape.until(lambda: stale(tape, "power"), "a number is missing for 3 s")
    samples = tape.samples("power")
    assert [s.value for s in samples] == [0.0, 1.0, 2.0, 3.0, 4.0, None]
    assert [s.event_time for s in samples[1:3]] == [(now + hour) * 1000, (now - hour) * 1000]
    assert [s.quality for s in samples[1:3]] == [Quality.UNCERTAIN, Quality.GOOD]
    assert all(one.receive_time < other.receive_time for one, other in pairwise(samples))
