"""What the failure matrix in docs/connectors.md says of OPC UA, on asyncua's server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from prometheus_client import REGISTRY

from connectors import clock
from connectors.config import Config
from connectors.device import DeviceFeed
from connectors.metrics import State
from connectors.runner import run_connectors
from connectors.spool.config import StoreConfig
from schemas.base import Quality
from schemas.devices import Storage
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster
from tests.conftest import wait_until
from tests.integration.connectors.conftest import Tape
from tests.integration.connectors.opcua.counting import Counting
from tests.integration.connectors.opcua.plant import Plant, connector, node, settings, state, unused_port


def test_opcua_when_the_cable_is_pulled_the_gap_opens_and_closes_with_the_next_data(tape, running, plant, cable):
    line = cable(int(plant.url.split(":")[2].split("/")[0]))
    url = f"opc.tcp://{line.address[0]}:{line.address[1]}/plant"
    with running(connector(settings(url, node("a", "A"), keep_alive=1))):
        tape.until(lambda: tape.samples("a"), "the first value")
        line.pull()
        tape.until(lambda: len(tape.gaps("disconnected")) == 3, "noticed")
        plant.write("A", 5.0)
        line.plug()
        tape.until(lambda: tape.samples("a")[-1].value == 5.0, "the value that was written meanwhile")
        tape.until(lambda: not tape.gaps("disconnected")[-1].open, "the gap is closed")
    opened = tape.gaps("disconnected")[2]
    assert (opened.key, opened.point, opened.open) == ("d", None, True)


def test_opcua_when_clocks_jump_no_time_is_changed_and_the_session_lives_on(tape, running, plant, machine_clock):
    hour = timedelta(hours=1)
    now = datetime.now(UTC).replace(microsecond=250_000)
    with running(connector(settings(plant.url, node("a", "A", silence=1800), keep_alive=5))):
        tape.until(lambda: tape.samples("a"), "the first value")
        first = len(tape.samples("a"))
        for value, moment in ((1.0, now + hour), (2.0, now - hour), (3.0, now)):
            plant.write("A", value, moment=moment)
        tape.until(lambda: len(tape.samples("a")) >= first + 3, "the source's clock has jumped")
        for ahead in (hour, -2 * hour):
            machine_clock.jump(ahead // timedelta(microseconds=1))
            machine_clock.until_read(3)
        plant.write("A", 4.0, moment=now)
        tape.until(lambda: tape.samples("a")[-1].value == 4.0, "the machine's clock has jumped")
    jumped = tape.samples("a")[first : first + 3]
    assert [s.value for s in jumped] == [1.0, 2.0, 3.0]
    assert [s.event_time for s in jumped] == [
        round(moment.timestamp() * 1e6) for moment in (now + hour, now - hour, now)
    ]
    assert [s.quality for s in jumped] == [Quality.UNCERTAIN, Quality.GOOD, Quality.GOOD]
    assert not tape.gaps("silence"), "half an hour has not passed"
    assert len(tape.gaps("disconnected")) == 2, "the session lives on"
    times = [record.receive_time for record in tape.records if isinstance(record, Telemetry)]
    assert times == sorted(times), "receive times never go back"


def test_opcua_when_one_of_900_nodes_is_bad_the_others_are_watched_in_portions_that_the_server_takes(tape, running):
    names = [f"N{number}" for number in range(900)]
    with Plant(unused_port(), *(name for name in names if name != "N450")) as plant:
        portions = plant.take_at_once(250)
        server = settings(plant.url, *(node(name) for name in names), keep_alive=5, backoff_ceiling=60, timeout=10)
        with running(connector(server)):
            tape.until(lambda: len({r.point for r in tape.records if isinstance(r, Telemetry)}) == 900, "all points")
            plant.write("N899", 9.0)
            tape.until(lambda: tape.samples("N899")[-1].value == 9.0, "a change")
            tape.until(lambda: state("d") is State.DEGRADED, "the state")
    bad = {r.point for r in tape.records if isinstance(r, Telemetry) and r.quality is Quality.BAD}
    assert bad == {"N450"}
    assert "BadNodeIdUnknown" in tape.samples("N450")[0].reason
    assert portions == [250, 250, 250, 150]


@pytest.fixture
def counting() -> Iterator[Counting]:
    """Asked for first, it starts while the topics are made."""
    with Counting(every=0.02) as server:
        yield server


def test_opcua_when_kafka_is_away_samples_wait_on_disk_and_when_that_is_full_each_that_is_missing_is_counted(
    counting, tape, cluster, late_kafka, tmp_path, monkeypatch
):
    monkeypatch.setattr("connectors.opcua.connector.DeviceFeed", partial(DeviceFeed, capacity=300))
    points = [f"n{number}" for number in range(50)]
    server = settings(counting.url, *(node(point, "N") for point in points), name="full", keep_alive=5)
    small = StoreConfig(after=0.1, disk_megabytes=1, keep_free_megabytes=0, memory_records=500)
    away = Cluster(late_kafka.address, prefix=cluster.prefix)
    stop = threading.Event()
    thread = threading.Thread(target=run_connectors, args=(Config(opcua=[server], store=small), away, stop, tmp_path))
    wait_until(lambda: counting.written > 0, 60)
    thread.start()
    try:
        wait_until(lambda: lost() > 2 * len(points))
        came, full = clock.now(), counting.written
        late_kafka.come()
        tape.until(lambda: tape.samples("n0") and tape.samples("n0")[-1].value > full, "what is live again")
        tape.until(lambda: sum(told(tape, point) for point in points) == lost(), "what was missed is told")
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    tape.until(lambda: all(told(tape, point) == missing(tape, point) for point in points), "each is counted")
    waited = [sample for sample in tape.samples("n0") if sample.receive_time < came]
    assert len(waited) > 10, "what was sampled while Kafka was away"
    assert [sample.sequence for sample in waited] == list(range(1, len(waited) + 1)), "without one missing"
    assert [sample.value for sample in waited] == [waited[0].value + place for place in range(len(waited))]
    for record, identity in zip(tape.records, tape.ids, strict=True):
        if isinstance(record, Telemetry):
            assert identity == f"full/{record.point}/{record.event_time}/{record.sequence}"
    assert {one.storage for one in tape.devices} >= {Storage.DISK, Storage.PAUSED, Storage.DIRECT}


def lost() -> float:
    return REGISTRY.get_sample_value("gridtape_connector_lost_total", {"connector": "opcua", "device": "full"}) or 0.0


def told(tape: Tape, point: str) -> int:
    """Samples that are said to have been lost, as the closings of gaps tell it."""
    return sum(gap.count for gap in tape.gaps("overflow") if gap.point == point and not gap.open)


def missing(tape: Tape, point: str) -> int:
    """Samples up to the last that are not there. One that Kafka had and did not acknowledge in time comes twice."""
    found = list(dict.fromkeys(sample.sequence for sample in tape.samples(point)))
    assert found == sorted(found), "in their order"
    return found[-1] - len(found)
