"""The connector and the writer on libmodbus, over TCP and on a serial line: the library of most devices on Linux."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from connectors.modbus.config import ModbusDevice
from connectors.modbus.connector import ModbusConnector
from schemas.base import Quality
from schemas.writes import WriteOutcome
from tests.integration.connectors.modbus.counterparts import (
    Peer,
    Tables,
    device,
    every_type,
    peer,
    register,
    serial_line,
    written,
)

SOURCE = Path(__file__).parent / "libmodbus" / "server.c"
HEADERS = Path("/usr/include/modbus")


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not HEADERS.is_dir():
        pytest.skip("a C compiler or libmodbus is not installed (Debian: apt-get install gcc libc6-dev libmodbus-dev)")
    made = tmp_path_factory.mktemp("libmodbus") / "server"
    command = [compiler, "-Wall", "-Werror", f"-I{HEADERS}", str(SOURCE), "-o", str(made), "-lmodbus"]
    subprocess.run(command, check=True, timeout=60)
    return made


class Place:
    """Where the server is asked, and the means to start it there."""

    def __init__(
        self, settings: Callable[..., ModbusDevice], start: Callable[..., AbstractContextManager[Peer]]
    ) -> None:
        self.device = settings
        self.serve = start


@pytest.fixture(params=["tcp", "rtu"])
def place(request, libmodbus, free_port) -> Iterator[Place]:
    @contextmanager
    def line() -> Iterator[tuple[str, dict]]:
        if request.param == "tcp":
            yield str(free_port), {}
        else:
            with serial_line() as (ours, theirs):
                # A pseudo terminal knows no parity.
                yield theirs, {"framing": "rtu", "serial": {"port": ours, "parity": "none", "stopbits": 1}}

    with line() as (theirs, how):

        def serve(tables: Tables) -> AbstractContextManager[Peer]:
            held = [
                " ".join(map(str, tables.get(kind, {}).values())) for kind in ("coil", "discrete", "holding", "input")
            ]
            return peer([str(libmodbus), request.param, theirs, *held])

        yield Place(lambda points, **more: device("plc", free_port, points, unit_id=3, **how, **more), serve)


def test_libmodbus_when_it_holds_every_type_in_every_order_all_are_read_right(tape, running, place):
    tables, points, expected = every_type()
    points.append(register("beyond", 1000))
    plc = place.device(points, timeout=2)
    with place.serve(tables), running(lambda p: ModbusConnector([plc], p)):
        tape.until(lambda: all(tape.samples(name) for name in (*expected, "beyond")), "every point")
    for name, value in expected.items():
        assert {(one.value, one.quality) for one in tape.samples(name)} == {(value, Quality.GOOD)}, name
    assert {one.value for one in tape.samples("beyond")} == {None}
    assert "illegal address (exception code 2)" in tape.samples("beyond")[0].reason


def test_libmodbus_when_it_is_killed_and_comes_back_the_gap_opens_and_closes(tape, running, place):
    plc = place.device([register("x", 0)])
    with running(lambda p: ModbusConnector([plc], p)):
        with place.serve({"holding": {0: 5}}):
            tape.until(lambda: [gap.open for gap in tape.gaps()] == [True, False], "the gap of the start is closed")
        tape.until(lambda: len(tape.gaps()) == 3, "a gap for the reboot")
        with place.serve({"holding": {0: 6}}):
            tape.until(lambda: len(tape.gaps()) == 4 and tape.samples("x")[-1].value == 6, "data again")
    opened, closed = tape.gaps()[2:]
    assert (opened.open, closed.open, opened.gap_id) == (True, False, closed.gap_id)
    assert {one.value for one in tape.samples("x")} == {5, 6}


def test_libmodbus_when_written_to_holds_what_was_meant(place):
    coil = {**register("c", 0, "bool"), "kind": "coil"}
    plc = place.device([register("x", 0)], timeout=1)
    with place.serve({"coil": {0: 0}, "holding": {0: 0, 1: 0, 2: 0, 3: 0, 4: 0x00FF}}):
        done = [
            written(plc, coil, "1"),
            written(plc, {**coil, "multiple": True}, "0"),
            written(plc, register("a", 0, "int16", scale=0.1), "-2.5"),
            written(plc, {**register("b", 1), "multiple": True}, "7"),
            written(plc, register("f", 2, "float32", word_order="little"), "50.5"),
            written(plc, register("bits", 4, "uint16", bit=4, width=6), "32"),
        ]
    assert [one.outcome for one in done] == [WriteOutcome.WRITTEN] * 6, done
    seen = [one.after for one in done if one.after]
    assert [one.value for one in seen] == [1, 0, -2.5, 7, 50.5, 32]
    assert [one.raw for one in seen][2:] == ["ff e7", "00 07", "00 00 42 4a", "02 0f"]
