"""Another maker's server, node-opcua: values, overflow, deadband, alarms, a restart with other numbers, security."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from asyncua.ua.status_codes import StatusCodes
from cryptography.x509.oid import ExtendedKeyUsageOID

from connectors.metrics import State
from schemas.base import Quality
from tests.integration.connectors.capture.diary import Diary, assert_same, captured, played
from tests.integration.connectors.opcua.plant import MOMENT, URI, connector, node, settings, state, unused_port
from tests.integration.connectors.opcua.site import make
from tests.npm import NodeProcess, installed

SOURCES = Path(__file__).parent / "node"


class Server(NodeProcess):
    """A process with a server of node-opcua. ``index``: the number of the plant's namespace."""

    index: int

    def __init__(self, packages: Path, folder: Path, port: int, **options: Any) -> None:
        self.url = f"opc.tcp://127.0.0.1:{port}/plant"
        given = {"port": port, "uri": URI, "folder": str(folder), "before": [], **options}
        super().__init__(packages, SOURCES / "server.js", json.dumps(given))

    def write(self, name: str, value: float, code: int = 0, moment: datetime | None = None) -> None:
        time = {"time": moment.isoformat()} if moment else {}
        self.do("write", node=name, value=value, code=code, **time)


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers, each with certificates of its own unless ``folder`` is given."""
    packages = installed(SOURCES)
    features = ["node", "-p", "process.features.require_module"]
    if subprocess.run(features, capture_output=True, text=True, check=False, timeout=20).stdout.strip() != "true":
        pytest.skip("node-opcua needs Node.js 20.19, 22.12 or newer")
    with ExitStack() as stack:

        def one(port: int | None = None, folder: Path | None = None, **options: Any) -> Server:
            own = folder or tmp_path_factory.mktemp("pki")
            server = Server(packages, own, port or unused_port(), **options)
            stack.callback(server.close)
            server.index = server.until("started", 60)["index"]
            return server

        yield one


@pytest.fixture(scope="module")
def server(start: Start) -> Server:
    """One server for most tests."""
    return start()


def test_node_opcua_when_values_change_keeps_number_status_and_source_time(tape, running, server):
    with running(connector(settings(server.url, node("a", "A"), node("b", "B")))):
        tape.until(lambda: tape.samples("a") and tape.samples("b"), "the first values")
        server.write("A", 42.5, moment=MOMENT)
        server.write("B", 7.0, StatusCodes.BadSensorFailure)
        tape.until(lambda: tape.samples("b")[-1].quality is Quality.BAD, "the bad value")
        tape.until(lambda: tape.samples("a")[-1].value == 42.5, "the good value")
        server.write("B", 8.0, StatusCodes.UncertainLastUsableValue)
        tape.until(lambda: tape.samples("b")[-1].value == 8.0, "the doubtful value")
    good, bad = tape.samples("a")[-1], next(s for s in tape.samples("b") if s.quality is Quality.BAD)
    assert (good.quality, good.event_time) == (Quality.GOOD, round(MOMENT.timestamp() * 1e6))
    assert (bad.value, bad.reason) == (7.0, "BadSensorFailure")
    assert tape.samples("b")[-1].quality is Quality.UNCERTAIN
    assert tape.samples("b")[-1].reason == "UncertainLastUsableValue"
    assert not tape.letters()


def test_node_opcua_when_its_queue_overflows_the_gap_stands_before_the_value(tape, running, server):
    slow = settings(
        server.url, node("a", "A", queue_size=2, sampling_interval=0.05), publishing_interval=1, keep_alive=5
    )
    with running(connector(slow)):
        tape.until(lambda: tape.samples("a"), "the first value")
        numbers = count(100)

        def overflown() -> bool:
            server.write("A", float(next(numbers)))  # each between two readings of the tape, a tenth of a second apart
            return len(tape.gaps("overflow")) == 2

        tape.until(overflown, "a gap, opened and closed")
    opened, closed = tape.gaps("overflow")
    assert (opened.point, opened.open, closed.open) == ("a", True, False)
    after = next(s for s in tape.samples("a") if s.receive_time > opened.receive_time)
    assert after.quality is Quality.GOOD


def test_node_opcua_when_a_percent_deadband_is_set_smaller_changes_do_not_come(tape, running, server):
    server.write("A", 0.0)
    filtered = node("a", "A", deadband={"percent": 5}, sampling_interval=0.05)
    with running(connector(settings(server.url, filtered, node("all", "A", sampling_interval=0.05)))):
        tape.until(lambda: tape.samples("a") and tape.samples("all"), "the first values")
        for value in (9.0, 21.0, 30.0, 32.0):  # 5 % of 0 to 200 is 10
            server.write("A", value)
            tape.until(lambda value=value: tape.samples("all")[-1].value == value, "the unfiltered point")
        tape.until(lambda: tape.samples("a")[-1].value == 32.0, "the second large change")
    assert [s.value for s in tape.samples("a")] == [0.0, 21.0, 32.0]


def test_node_opcua_when_a_trigger_changes_the_nodes_that_wait_for_it_are_reported_also_after_a_lost_connection(
    tape, running, server
):
    def watched(point: str, name: str, **fields: Any) -> dict[str, Any]:
        return node(point, name, sampling_interval=0.05, **fields)

    def write(*values: float) -> None:
        """Each is seen by the server before the next is written."""
        for value in values:
            server.write("B", value)
            tape.until(lambda value=value: tape.samples("all")[-1].value == value, "a value of the node itself")

    def fire(value: float) -> None:
        def fired() -> bool:
            server.write("A", float(next(numbers)))
            reported = [tape.samples(point) for point in ("last", "each", "found.B")]
            return all(samples and samples[-1].value == value for samples in reported)

        tape.until(fired, "the value with its trigger")

    numbers = count(1)
    points = [
        watched("trigger", "A"),
        watched("all", "B"),
        watched("last", "B", triggered_by="trigger"),
        watched("each", "B", triggered_by="trigger", queue_size=50),
    ]
    found = {"path": "Boiler/B", "namespace": URI, "unit": "MW", "point": "found.{name}", "triggered_by": "trigger"}
    server.write("B", 0.5)
    with running(connector(settings(server.url, *points, browse=[found], keep_alive=5))):
        tape.until(lambda: tape.samples("trigger") and tape.samples("all"), "the first values")
        write(1.0, 2.0, 3.0)
        assert not tape.samples("last")
        assert not tape.samples("each"), "their trigger has not changed"
        fire(3.0)
        before = len(tape.samples("last"))
        server.do("cut")
        tape.until(lambda: [g.open for g in tape.gaps()] == [True, False, True, False], "a new session")
        write(4.0, 5.0)
        assert len(tape.samples("last")) == before
        fire(5.0)
    assert {1.0, 4.0}.isdisjoint(s.value for s in tape.samples("last")), "only the newest, not each before it"
    values = list(dict.fromkeys(s.value for s in tape.samples("each")))
    assert values == sorted(values), "in their order"
    assert {1.0, 2.0, 3.0, 4.0, 5.0} <= set(values)
    times = {s.value: s.event_time for s in tape.samples("all")}
    assert all(s.event_time == times[s.value] for s in tape.samples("each") if s.value in times), "their own times"
    assert {g.reason for g in tape.gaps()} == {"disconnected"}


def test_node_opcua_when_a_trigger_is_not_there_the_nodes_that_wait_for_it_are_bad_until_it_appears(
    tape, running, server
):
    points = [node("a", "A"), node("late", "L"), node("waits", "B", triggered_by="late", sampling_interval=0.05)]
    with running(connector(settings(server.url, *points, name="e"))):
        tape.until(lambda: tape.samples("waits"), "why it does not come")
        tape.until(lambda: state("e") is State.DEGRADED, "the state")
        server.do("add", node="L")
        tape.until(lambda: tape.samples("late")[-1].value == 0.0, "the trigger that has appeared")
        tape.until(lambda: state("e") is State.LIVE, "the state")
        numbers = count(1)

        def fired() -> bool:
            server.write("B", 9.0)
            server.write("L", float(next(numbers)))
            return tape.samples("waits")[-1].value == 9.0

        tape.until(fired, "the value with its trigger")
    bad = tape.samples("waits")[0]
    assert (bad.value, bad.quality) == (None, Quality.BAD)
    assert bad.reason.startswith("its trigger late is not watched: BadNodeIdUnknown")
    assert [s.quality for s in tape.samples("waits")].count(Quality.BAD) == 1


def test_node_opcua_when_an_alarm_comes_is_acknowledged_and_the_line_is_cut_its_states_are_told(tape, running, server):
    limits = {"path": "Boiler", "types": ["LimitAlarmType"], "severity": 100}
    server.write("P", 0.0)
    with running(connector(settings(server.url, events=[limits, {"types": ["SystemEventType"], "severity": 300}]))):
        tape.until(lambda: [g.open for g in tape.gaps() if g.feed == "events"] == [True, False], "watched")
        server.write("P", 120.0)
        tape.until(lambda: tape.events() and tape.events()[-1].active, "the alarm")
        server.do("event", message="pump idles", severity=299)
        server.do("event", message="pump started", severity=300)
        tape.until(lambda: tape.events()[-1].message == "pump started", "an event of another type")
        server.do("acknowledge")
        tape.until(lambda: tape.events()[-1].acknowledged, "that it was acknowledged")
        server.do("cut")
        tape.until(lambda: len([g for g in tape.gaps() if g.feed == "events"]) == 4, "a gap, closed again")
        tape.until(lambda: tape.events()[-1].refreshed, "the present state")
        assert "told again" in tape.gaps()[-1].detail
        latest = tape.events()[-1]
        server.write("P", 0.0)
        tape.until(lambda: tape.events()[-1].active is False, "the end of the alarm")
    came, started = (
        next(e for e in tape.events() if e.message == text) for text in (tape.events()[0].message, "pump started")
    )
    assert (came.type, came.condition, came.retain, came.acknowledged) == (
        "ExclusiveLimitAlarmType",
        "Pressure",
        True,
        False,
    )
    assert came.condition_id == f"nsu={URI};s=Pressure"
    assert (started.type, started.severity, started.condition_id) == ("SystemEventType", 300, None)
    assert (latest.condition_id, latest.active, latest.acknowledged) == (came.condition_id, True, True)
    assert (latest.level, latest.comment) == ("High", "seen")
    assert tape.events()[-1].severity == 0, "it weighs less than what was asked for"
    assert "pump idles" not in {e.message for e in tape.events()}
    assert len(set(tape.ids)) == len(tape.ids)


def test_node_opcua_when_recorded_plays_back_the_same_values_states_and_times(tmp_path, monkeypatch, server):
    numbers = count(1)
    text = f"""
[[opcua]]
name = "boiler"
url = "{server.url}"
publishing_interval = 0.05
timeout = 10
browse = [{{ path = "Boiler/[AB]", namespace = "{URI}", unit = "MW", sampling_interval = 0.05 }}]
events = [{{ path = "Server" }}]
"""

    def run(found: Diary) -> bool:
        number = next(numbers)
        server.write("A", number / 3, moment=MOMENT + timedelta(milliseconds=number))
        server.write("B", 1.5, StatusCodes.UncertainLastUsableValue if number % 2 else 0)
        return sum(found.count.values()) > 20

    then = captured(tmp_path, text, monkeypatch, run)
    now = played(tmp_path / "tape.jsonl", tmp_path / "c.toml")
    assert {one[3] for one in now.history} == {Quality.GOOD, Quality.UNCERTAIN}
    assert_same(then, now, 20)


def test_node_opcua_when_restarted_with_other_namespace_numbers_its_nodes_are_found_over_an_encrypted_channel(
    tape, running, start, tmp_path
):
    make(tmp_path, "client", ExtendedKeyUsageOID.CLIENT_AUTH)
    make(tmp_path, "server", ExtendedKeyUsageOID.SERVER_AUTH)
    (tmp_path / "trusted").mkdir()
    shutil.copy(tmp_path / "server.pem", tmp_path / "trusted")
    port, files = unused_port(), {"certificate": "server.pem", "key": "server.key.pem"}
    secured = {name: str(tmp_path / file) for name, file in files.items()} | {"application": "urn:test:server"}
    security = {"certificate": "client.pem", "private_key": "client.key.pem", "trust_folder": "trusted"}
    first = start(port, tmp_path / "pki", **secured)
    with running(connector(settings(first.url, node("a", "A"), folder=tmp_path, timeout=10, security=security))):
        tape.until(lambda: tape.samples("a"), "the first value")
        first.close()
        tape.until(lambda: len(tape.gaps("disconnected")) == 3, "a gap for the lost server")
        second = start(port, tmp_path / "pki", before=["urn:test:new", "urn:test:newer"], **secured)
        second.write("A", 8.0)
        tape.until(lambda: tape.samples("a")[-1].value == 8.0, "the value of the new server")
        tape.until(lambda: [g.open for g in tape.gaps("disconnected")][2:] == [True, False], "the gap is closed")
    second.close()
    assert second.index == first.index + 2
