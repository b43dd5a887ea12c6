"""The connector and the writer on a server of the npm package modbus-serial: another hand than pymodbus'."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.modbus.connector import ModbusConnector
from connectors.modbus.writing.writer import Result, Writer
from schemas.base import Quality
from schemas.writes import WriteOutcome
from tests.conftest import wait_until
from tests.integration.connectors.modbus.counterparts import device, register
from tests.npm import installed

NODE_SOURCES = Path(__file__).parent / "node"
UNIT = 3
Serve = Callable[..., AbstractContextManager["Server"]]


class Server:
    """A process with the server; ``written``: what it was told to store, in order."""

    def __init__(self, modules: Path, port: int, tables: dict[str, Any]) -> None:
        command = ["node", str(NODE_SOURCES / "server.js"), str(port), json.dumps(tables)]
        env = {**os.environ, "NODE_PATH": str(modules)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        self.said: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def written(self) -> list[tuple[str, int, int]]:
        return [(one["table"], one["address"], one["value"]) for one in self.said if "table" in one]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._thread.join(10)
        assert self.process.stdout
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(json.loads(line))


@pytest.fixture
def serve(free_port) -> Serve:
    """Serves these tables as unit 3 while the block lasts, which ends the server with kill -9."""
    modules = installed(NODE_SOURCES)

    @contextmanager
    def run(**tables: dict[int, int | bool]) -> Iterator[Server]:
        empty: dict[str, Any] = {"coil": {}, "discrete": {}, "holding": {}, "input": {}}
        server = Server(modules, free_port, empty | tables)
        try:
            wait_until(lambda: bool(server.said))
            assert server.said[0] == {"event": "listening"}
            yield server
        finally:
            server.kill()

    return run


VALUES = {
    "int16": ("h", -12345),
    "uint16": ("H", 54321),
    "int32": ("i", -1_234_567_890),
    "uint32": ("I", 4_000_000_000),
    "int64": ("q", -(2**52) - 1),
    "uint64": ("Q", 2**53 - 1),
    "float16": ("e", 0.5),
    "float32": ("f", -12.375),
    "float64": ("d", 1234.000244140625),
}
ORDERS = [("big", "big"), ("big", "little"), ("little", "big"), ("little", "little")]


def laid_out(type_: str, byte_order: str, word_order: str) -> list[int]:
    layout, value = VALUES[type_]
    raw = struct.pack(f">{layout}", value)
    words = [int.from_bytes(raw[at : at + 2], byte_order) for at in range(0, len(raw), 2)]
    return words if word_order == "big" else words[::-1]


def test_npm_server_when_it_holds_every_type_in_every_order_all_are_read_right(tape, running, serve, free_port):
    tables: dict[str, dict[int, int | bool]] = {"holding": {}, "input": {}, "coil": {7: True}, "discrete": {9: False}}
    points, expected = [], {"coil": 1.0, "discrete": 0.0}
    for kind in ("holding", "input"):
        at = 0
        for byte_order, word_order in ORDERS:
            for type_, (_, value) in VALUES.items():
                name = f"{kind}.{type_}.{byte_order}.{word_order}"
                one = register(name, at, type_, byte_order=byte_order, word_order=word_order)
                points.append({**one, "kind": kind})
                words = laid_out(type_, byte_order, word_order)
                tables[kind] |= dict(enumerate(words, at))
                expected[name] = float(value)
                at += len(words)
    points += [{**register(kind, at, "bool"), "kind": kind} for kind, at in (("coil", 7), ("discrete", 9))]
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


def written(port: int, point: dict[str, Any], value: str) -> Result:
    """What the writer sees when it sets the point."""
    writable = {"minimum": -1e9, "maximum": 1e9, "multiple": point.pop("multiple", False)}

    async def write() -> Result:
        writer = Writer(device("plc", port, [{**point, "writable": writable}], unit_id=UNIT))
        try:
            return await writer.carry_out(await writer.plan(point["point"], Decimal(value)))
        finally:
            writer.leave()

    return asyncio.run(write())


def test_npm_server_when_written_to_stores_what_was_meant_and_knows_no_mask_write(serve, free_port):
    tables = {"coil": {0: False}, "holding": dict.fromkeys(range(4), 0)}
    with serve(**tables) as server:
        coil = {**register("c", 0, "bool"), "kind": "coil"}
        done = [
            written(free_port, dict(coil), "1"),
            written(free_port, {**coil, "multiple": True}, "0"),
            written(free_port, register("a", 0, "int16", scale=0.1), "-2.5"),
            written(free_port, {**register("b", 1), "multiple": True}, "7"),
            written(free_port, register("f", 2, "float32", word_order="little"), "50.5"),
        ]
        refused = written(free_port, register("bit", 1, "bool", bit=3), "1")
        wait_until(lambda: len(server.written) == 6)
    assert [one.outcome for one in done] == [WriteOutcome.WRITTEN] * 5, done
    assert [one.after.value for one in done if one.after] == [1, 0, -2.5, 7, 50.5]
    assert server.written == [
        ("coil", 0, True),
        ("coil", 0, False),
        ("holding", 0, 0x10000 - 25),
        ("holding", 1, 7),
        ("holding", 2, 0),
        ("holding", 3, 0x424A),
    ]
    assert refused.outcome is WriteOutcome.REFUSED
    assert "illegal function (exception code 1)" in refused.detail
