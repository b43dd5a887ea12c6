"""The Modbus connector on real servers: pymodbus' own, and hostile ones."""

from __future__ import annotations

import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from pymodbus import FramerType
from pymodbus.simulator import DataType, SimData

from connectors.modbus.connector import ModbusConnector
from connectors.modbus.simulator import simulate
from schemas.base import Quality
from tests.integration.connectors.modbus.counterparts import device, hostile, register, rtu, server


def test_connector_when_the_plant_simulator_runs_reads_every_point_in_its_unit(tape, running, free_port):
    stop = threading.Event()
    plant = threading.Thread(target=simulate, args=("127.0.0.1", free_port, stop), kwargs={"seed": 7})
    plant.start()
    points = [
        {**register("output_mw", 0, "float32", unit="MW"), "kind": "input"},
        {**register("available_mw", 2, "float32", unit="MW", word_order="little"), "kind": "input"},
        {**register("fuel_flow", 4, unit="kg/s", scale=0.01), "kind": "input"},
        {**register("exhaust_temp", 5, "int16", unit="Cel", scale=0.1), "kind": "input"},
        {**register("running", 0, "bool"), "kind": "coil"},
    ]
    try:
        with running(lambda publisher: ModbusConnector([device("gas-1", free_port, points)], publisher)):
            tape.until(lambda: len(tape.samples("running")) >= 3, "three polls")
    finally:
        stop.set()
        plant.join()
    output, available = tape.samples("output_mw")[0], tape.samples("available_mw")[0]
    assert 300 < output.value < available.value < 400
    assert tape.samples("fuel_flow")[0].value == pytest.approx(output.value * 0.0525, abs=0.005)
    assert 580 < tape.samples("exhaust_temp")[0].value < 620
    assert tape.samples("running")[0].value == 1.0
    assert [sample.sequence for sample in tape.samples("output_mw")][:3] == [1, 2, 3]
    assert all(r.quality is Quality.GOOD and r.device == "gas-1" for r in tape.samples("output_mw"))
    assert len(set(tape.ids)) == len(tape.ids)


def test_connector_when_one_register_is_illegal_only_that_point_is_bad(tape, running, free_port):
    holding = [
        SimData(0, datatype=DataType.REGISTERS, values=[10, 11, 12]),
        SimData(4, datatype=DataType.REGISTERS, values=[14, 15]),
    ]
    points = [register(f"r{address}", address) for address in range(6)]
    with server(free_port, holding), running(lambda p: ModbusConnector([device("plc", free_port, points)], p)):
        tape.until(lambda: len(tape.samples("r5")) >= 3, "three polls")
    for address in (0, 1, 2, 4, 5):
        assert {s.value for s in tape.samples(f"r{address}")} == {10 + address}
    refused = tape.samples("r3")
    assert refused
    assert all(s.value is None and s.quality is Quality.BAD and "illegal address" in s.reason for s in refused)


def test_connector_when_a_hole_between_points_is_illegal_reads_the_points(tape, running, free_port):
    holding = [SimData(0, datatype=DataType.REGISTERS, values=[1]), SimData(5, datatype=DataType.REGISTERS, values=[6])]
    points = [register("before", 0), register("after", 5)]
    with server(free_port, holding), running(lambda p: ModbusConnector([device("plc", free_port, points)], p)):
        tape.until(lambda: len(tape.samples("after")) >= 2, "two polls")
    assert {(s.value, s.quality) for s in tape.samples("before")} == {(1.0, Quality.GOOD)}
    assert {(s.value, s.quality) for s in tape.samples("after")} == {(6.0, Quality.GOOD)}


def test_connector_when_rtu_over_tcp_reads_the_same_values(tape, running, free_port):
    words = struct.unpack(">HH", struct.pack(">f", 12.5))
    holding = [SimData(0, datatype=DataType.REGISTERS, values=list(words))]
    meter = device("meter", free_port, [register("power", 0, "float32")], framing="rtu-over-tcp")
    with server(free_port, holding, FramerType.RTU), running(lambda p: ModbusConnector([meter], p)):
        tape.until(lambda: tape.samples("power"), "a sample")
    assert tape.samples("power")[0].value == 12.5


def test_connector_when_one_device_hangs_the_others_keep_their_pace(tape, running, free_port):
    asked: list[bytes] = []
    holding = [SimData(0, datatype=DataType.REGISTERS, values=[1])]
    with (
        hostile(lambda frame, _send: asked.append(frame)) as silent_port,
        server(free_port, holding),
        running(
            lambda publisher: ModbusConnector(
                [
                    device("hangs", silent_port, [register("x", 0)], timeout=60),
                    device("works", free_port, [register("x", 0)]),
                ],
                publisher,
            )
        ),
    ):
        tape.until(
            lambda: len(tape.samples("x", "works")) >= 12,
            "twelve polls of the device that works, long before the other's timeout of 60 s",
        )
    assert asked, "the hanging device was asked"
    assert not tape.samples("x", "hangs")


def test_connector_when_an_rtu_answer_comes_late_it_is_not_taken_for_the_next_register(tape, running):
    late: list[threading.Timer] = []

    def answer(frame: bytes, send: Callable[[bytes], None]) -> None:
        unit, _function, address, _count = struct.unpack(">BBHH", frame[:6])
        reply = rtu(struct.pack(">BBBH", unit, 3, 2, 1000 + address))
        # The slow answer (timeout 0.3 s) arrives while the quick one is being waited for.
        late.append(threading.Timer(0.4 if address == 0 else 0.2, send, (reply,)))
        late[-1].start()

    points = [register("slow", 0), register("quick", 100)]
    with (
        hostile(answer) as port,
        running(lambda p: ModbusConnector([device("serial", port, points, framing="rtu-over-tcp")], p)),
    ):
        tape.until(lambda: len(tape.samples("quick")) >= 5, "five samples of the register that answers in time")
        tape.until(lambda: tape.samples("slow"), "a record for the register that does not")
    assert {sample.value for sample in tape.samples("quick")} == {1100.0}
    assert {(sample.value, sample.quality) for sample in tape.samples("slow")} == {(None, Quality.BAD)}
    for timer in late:
        timer.join()


LIES: dict[str, Callable[[int, int], bytes]] = {
    "another-transaction": lambda tid, unit: struct.pack(">HHHBBBH", tid + 1, 0, 5, unit, 3, 2, 666),
    "transaction-0": lambda tid, unit: struct.pack(">HHHBBBH", 0, 0, 5, unit, 3, 2, 666),
    "another-function": lambda tid, unit: struct.pack(">HHHBBBH", tid, 0, 5, unit, 4, 2, 666),
    "another-length": lambda tid, unit: struct.pack(">HHHBBBHH", tid, 0, 7, unit, 3, 4, 666, 666),
    "another-refusal": lambda tid, unit: struct.pack(">HHHBBB", tid, 0, 3, unit, 0x84, 2),
    "another-unit": lambda tid, unit: struct.pack(">HHHBBBH", tid, 0, 5, unit + 1, 3, 2, 666),
    "another-protocol": lambda tid, unit: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "half-an-answer": lambda tid, unit: struct.pack(">HHHBBB", tid, 0, 5, unit, 3, 2),
}


def test_connector_when_answers_belong_to_something_else_records_no_value(tape, running):
    asked: Counter[str] = Counter()

    def liar(name: str) -> Callable[[bytes, Callable[[bytes], None]], None]:
        def answer(frame: bytes, send: Callable[[bytes], None]) -> None:
            tid, _protocol, _length, unit = struct.unpack(">HHHB", frame[:7])
            asked[name] += 1
            send(LIES[name](tid, unit))

        return answer

    with ExitStack() as liars:
        ports = {name: liars.enter_context(hostile(liar(name))) for name in LIES}
        devices = [device(name, port, [register("x", 0)]) for name, port in ports.items()]
        with running(lambda publisher: ModbusConnector(devices, publisher)):
            tape.until(lambda: all(asked[name] >= 3 for name in LIES), "all are asked again and again")
            tape.read()
    assert not tape.samples("x")
    assert {gap.key for gap in tape.gaps("disconnected") if gap.open} == set(LIES)
    assert all(gap.open for gap in tape.gaps())


def test_connector_when_the_device_goes_and_comes_back_opens_and_closes_a_gap(tape, running, free_port):
    holding = [SimData(0, datatype=DataType.REGISTERS, values=[5])]
    with running(lambda p: ModbusConnector([device("plc", free_port, [register("x", 0)])], p)):
        with server(free_port, holding):
            tape.until(lambda: len(tape.samples("x")) >= 2, "samples")
            tape.until(lambda: [g.open for g in tape.gaps()] == [True, False], "the gap of the start is closed")
        tape.until(lambda: len(tape.gaps()) == 3, "a gap for the lost device")
        before = len(tape.samples("x"))
        with server(free_port, holding):
            tape.until(lambda: len(tape.gaps()) == 4 and len(tape.samples("x")) > before, "data again")
    opened, closed = tape.gaps()[2:]
    assert (opened.open, closed.open) == (True, False)
    assert opened.gap_id == closed.gap_id
    assert opened.reason == "disconnected"
    assert str(free_port) in opened.detail
    assert tape.samples("x")[before].receive_time > opened.receive_time
