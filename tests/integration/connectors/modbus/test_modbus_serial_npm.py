"""The connector and the writer on a server of the npm package modbus-serial: another hand than pymodbus'."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.modbus.connector import ModbusConnector
from schemas.base import Quality
from schemas.writes import WriteOutcome
from tests.conftest import wait_until
from tests.integration.connectors.modbus.counterparts import Peer, device, every_type, peer, register, written
from tests.npm import installed

NODE_SOURCES = Path(__file__).parent / "node"
UNIT = 3
Serve = Callable[..., AbstractContextManager[Peer]]


@pytest.fixture
def serve(free_port) -> Serve:
    """Serves these tables as unit 3 while the block lasts, which ends the server with kill -9."""
    modules = installed(NODE_SOURCES)

    @contextmanager
    def run(**tables: dict[int, int | bool]) -> Iterator[Peer]:
        empty: dict[str, Any] = {"coil": {}, "discrete": {}, "holding": {}, "input": {}}
        command = ["node", str(NODE_SOURCES / "server.js"), str(free_port), json.dumps(empty | tables)]
        with peer(command, NODE_PATH=str(modules)) as server:
            yield server

    return run


def test_npm_server_when_it_holds_every_type_in_every_order_all_are_read_right(tape, running, serve, free_port):
    tables, points, expected = every_type()
    plc = device("plc", free_port, points, unit_id=UNIT, timeout=2)
    with serve(**tables), running(lambda p: ModbusConnector([plc], p)):
        tape.until(lambda: all(tape.samples(name) for name in expected), "every point")
    for name, value in expected.items():
        assert {(one.value, one.quality) for one in tape.samples(name)} == {(value, Quality.GOOD)}, name


def test_npm_server_when_it_refuses_names_the_exception_and_reads_the_rest(tape, running, serve, free_port):
    points = [register("fine", 0), register("missing", 1), register("also_fine", 2), register("busy", 10)]
    plc = device("plc", free_port, points, unit_id=UNIT, max_hole=0)
    stranger = device("stranger", free_port, [register("x", 0)], unit_id=9)
    with (
        serve(holding={0: 5, 2: 6, 10: 7}, busy=[10]),
        running(lambda p: ModbusConnector([plc, stranger], p)),
    ):
        tape.until(lambda: len(tape.samples("also_fine")) >= 3 and len(tape.samples("busy")) >= 2, "three polls")
        tape.until(
            lambda: any(one.device == "stranger" and one.state == "down" for one in tape.devices),
            "a unit that nobody is",
        )
    assert {one.value for one in tape.samples("fine")} == {5}
    assert {one.value for one in tape.samples("also_fine")} == {6}
    for point, said in (("missing", "illegal address (exception code 2)"), ("busy", "device busy (exception code 6)")):
        assert all(one.value is None and said in one.reason for one in tape.samples(point)), tape.samples(point)
    assert not tape.samples("x", "stranger")


def test_npm_server_when_it_is_killed_and_comes_back_the_gap_opens_and_closes(tape, running, serve, free_port):
    plc = device("plc", free_port, [register("x", 0)], unit_id=UNIT)
    with running(lambda p: ModbusConnector([plc], p)):
        with serve(holding={0: 5}):
            tape.until(lambda: len(tape.samples("x")) >= 2, "samples")
            tape.until(lambda: [gap.open for gap in tape.gaps()] == [True, False], "the gap of the start is closed")
        tape.until(lambda: len(tape.gaps()) == 3, "a gap for the reboot")
        before = len(tape.samples("x"))
        with serve(holding={0: 6}):
            tape.until(lambda: len(tape.gaps()) == 4 and len(tape.samples("x")) > before, "data again")
    opened, closed = tape.gaps()[2:]
    assert (opened.open, closed.open, opened.gap_id) == (True, False, closed.gap_id)
    assert [one.value for one in tape.samples("x")] == [5.0] * before + [6.0] * (len(tape.samples("x")) - before)
    assert tape.samples("x")[before].receive_time > opened.receive_time


def stored(server: Peer) -> list[tuple[str, int, int]]:
    """What it was told to store, in order."""
    return [(one["table"], one["address"], one["value"]) for one in server.said if "table" in one]


def test_npm_server_when_written_to_stores_what_was_meant_and_knows_no_mask_write(serve, free_port):
    tables = {"coil": {0: False}, "holding": dict.fromkeys(range(4), 0)}
    plc = device("plc", free_port, [register("x", 0)], unit_id=UNIT)
    with serve(**tables) as server:
        coil = {**register("c", 0, "bool"), "kind": "coil"}
        done = [
            written(plc, coil, "1"),
            written(plc, {**coil, "multiple": True}, "0"),
            written(plc, register("a", 0, "int16", scale=0.1), "-2.5"),
            written(plc, {**register("b", 1), "multiple": True}, "7"),
            written(plc, register("f", 2, "float32", word_order="little"), "50.5"),
        ]
        refused = written(plc, register("bit", 1, "bool", bit=3), "1")
        wait_until(lambda: len(stored(server)) == 6)
    assert [one.outcome for one in done] == [WriteOutcome.WRITTEN] * 5, done
    assert [one.after.value for one in done if one.after] == [1, 0, -2.5, 7, 50.5]
    assert stored(server) == [
        ("coil", 0, True),
        ("coil", 0, False),
        ("holding", 0, 0x10000 - 25),
        ("holding", 1, 7),
        ("holding", 2, 0),
        ("holding", 3, 0x424A),
    ]
    assert refused.outcome is WriteOutcome.REFUSED
    assert "illegal function (exception code 1)" in refused.detail
