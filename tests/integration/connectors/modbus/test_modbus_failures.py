"""The failure matrix of docs/connectors.md for Modbus: what is not shown elsewhere."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

from pymodbus.simulator import DataType, SimData

from connectors.modbus.connector import ModbusConnector
from schemas.telemetry import Telemetry
from tests.integration.connectors.modbus.counterparts import device, hostile, register, server


def test_modbus_when_clocks_jump_silence_is_measured_as_ever_and_no_time_goes_back(
    tape, running, free_port, machine_clock
):
    hour = 3_600_000_000
    holding = [SimData(0, datatype=DataType.REGISTERS, values=[5])]
    # The second register does not exist: its point never has a value.
    plc = device("plc", free_port, [register("x", 0, silence=1800), register("none", 9, silence=0.3)], max_hole=0)
    with server(free_port, holding), running(lambda p: ModbusConnector([plc], p)):
        tape.until(lambda: len(tape.samples("x")) >= 2, "samples")
        machine_clock.jump(hour)
        before = len(tape.samples("x"))
        tape.until(lambda: len(tape.samples("x")) >= before + 3, "the machine's clock is an hour ahead")
        machine_clock.jump(-2 * hour)
        before = len(tape.samples("x"))
        tape.until(lambda: len(tape.samples("x")) >= before + 3, "the machine's clock is an hour behind")
        tape.until(
            lambda: [gap for gap in tape.gaps("silence") if gap.point == "none"], "the silence of the other point"
        )
    assert not [gap for gap in tape.gaps("silence") if gap.point == "x"], "half an hour has not passed"
    times = [record.receive_time for record in tape.records if isinstance(record, Telemetry) and record.point == "x"]
    assert times == sorted(times)
    assert {sample.value for sample in tape.samples("x")} == {5}


def test_modbus_when_the_cable_is_pulled_the_gap_is_open_until_there_is_data(tape, running):
    plugged = threading.Event()
    plugged.set()

    def answer(frame: bytes, send: Callable[[bytes], None]) -> None:
        # A pulled cable: the connection stays, and nothing comes any more.
        if plugged.is_set():
            tid, _protocol, _length, unit = struct.unpack(">HHHB", frame[:7])
            send(struct.pack(">HHHBBBH", tid, 0, 5, unit, 3, 2, 7))

    with hostile(answer) as port, running(lambda p: ModbusConnector([device("plc", port, [register("x", 0)])], p)):
        tape.until(lambda: len(tape.samples("x")) >= 2, "samples")
        plugged.clear()
        tape.until(lambda: [gap.open for gap in tape.gaps()] == [True, False, True], "the gap of the pulled cable")
        before = len(tape.samples("x"))
        plugged.set()
        tape.until(lambda: [gap.open for gap in tape.gaps()][3:] == [False], "the gap is closed")
        tape.until(lambda: len(tape.samples("x")) > before, "data again")
    assert "no answer" in tape.gaps()[2].detail
    assert {sample.value for sample in tape.samples("x")} == {7}
