"""The failure matrix of docs/connectors.md for Modbus: what is not shown elsewhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData

from connectors.config import Config
from connectors.modbus.connector import ModbusConnector
from connectors.runner import run_connectors
from connectors.spool.config import StoreConfig
from schemas.base import Quality
from schemas.devices import Storage
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster
from tests.conftest import wait_until
from tests.integration.connectors.conftest import Tape
from tests.integration.connectors.modbus.counterparts import device, register, serial_line, server, serving


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


def test_modbus_when_the_cable_is_pulled_the_gap_is_open_until_there_is_data(tape, running, free_port, cable):
    holding = [SimData(0, datatype=DataType.REGISTERS, values=[7])]
    with server(free_port, holding):
        line = cable(free_port)
        with running(lambda p: ModbusConnector([device("plc", line.address[1], [register("x", 0)])], p)):
            tape.until(lambda: len(tape.samples("x")) >= 2, "samples")
            line.pull()
            tape.until(lambda: [gap.open for gap in tape.gaps()] == [True, False, True], "the gap of the pulled cable")
            before = len(tape.samples("x"))
            line.plug()
            tape.until(lambda: [gap.open for gap in tape.gaps()][3:] == [False], "the gap is closed")
            tape.until(lambda: len(tape.samples("x")) > before, "data again")
    assert "no answer" in tape.gaps()[2].detail
    assert {sample.value for sample in tape.samples("x")} == {7}


def test_modbus_when_a_register_answers_late_on_a_serial_line_it_is_not_taken_for_another(tape, running):
    late: list[int] = []

    async def act(_function: int, address: int, _registers: list[int], _stored: object) -> None:
        if address == 0:
            # Half as long again as anybody waits: the answer comes while the line is closed to it.
            await asyncio.sleep(0.45)
            late.append(address)

    held = [SimData(0, datatype=DataType.REGISTERS, values=[1000 + address for address in range(101)])]
    with serial_line() as (ours, theirs):
        line = {"port": ours, "parity": "none", "stopbits": 1, "bytesize": 8}
        points = [register("slow", 0), register("quick", 100)]
        meter = device("meter", 0, points, framing="rtu", serial=line)
        with (
            serving(lambda unit: ModbusSerialServer(unit, framer=FramerType.RTU, port=theirs), held, acts=act),
            running(lambda p: ModbusConnector([meter], p)),
        ):
            tape.until(lambda: len(tape.samples("quick")) >= 5 and len(late) >= 2, "samples beside late answers")
            tape.until(lambda: tape.samples("slow"), "a record for the register that does not answer in time")
    assert {sample.value for sample in tape.samples("quick") if sample.value is not None} == {1100.0}
    assert {(sample.value, sample.quality) for sample in tape.samples("slow")} == {(None, Quality.BAD)}


def test_modbus_when_kafka_is_away_and_the_disk_is_full_the_device_is_left_alone_and_every_sample_is_accounted_for(
    tape, cluster, late_kafka, free_port, tmp_path
):
    polls = 0

    async def act(_function: int, _address: int, registers: list[int], _stored: object) -> None:
        nonlocal polls
        polls += 1
        registers[:2] = divmod(polls, 65_536)

    points = [register("n", 0, "uint32"), *(register(f"r{address}", address) for address in range(2, 122))]
    plc = device("plc", free_port, points, poll_interval=0.05, timeout=5)
    config = Config(
        modbus=[plc], store=StoreConfig(after=0.1, disk_megabytes=1, keep_free_megabytes=0, memory_records=100)
    )
    away = Cluster(late_kafka.address, prefix=cluster.prefix)
    stop = threading.Event()
    thread = threading.Thread(target=run_connectors, args=(config, away, stop, tmp_path))
    with server(free_port, [SimData(0, datatype=DataType.REGISTERS, values=[0] * 122)], acts=act):
        thread.start()
        try:
            wait_until(lambda: polls > 5)
            wait_until(lambda: left_alone(lambda: polls))
            late_kafka.come()
            full = polls
            tape.until(lambda: polls > full + 5, "the device is read again")
            tape.until(lambda: tape.samples("n") and tape.samples("n")[-1].value > full, "all that waited, and more")
            tape.until(lambda: all(lost(tape, one["point"]) for one in points), "what was missed is told")
        finally:
            stop.set()
            thread.join(10)
    assert not thread.is_alive()
    tape.until(
        lambda: all(lost(tape, one["point"]) == missing(tape, one["point"]) for one in points), "each is counted"
    )
    read = list(dict.fromkeys(sample.value for sample in tape.samples("n")))
    assert read == sorted(read), "the polls in their order"
    assert {one.storage for one in tape.devices} > {Storage.DIRECT}


def lost(tape: Tape, point: str) -> int:
    """Samples that are said to have been lost, as the closings of gaps tell it."""
    return sum(gap.count for gap in tape.gaps("overflow") if gap.point == point and not gap.open)


def missing(tape: Tape, point: str) -> int:
    """Samples up to the last that are not there. One that Kafka had and did not acknowledge in time comes twice."""
    found = list(dict.fromkeys(sample.sequence for sample in tape.samples(point)))
    assert found == sorted(found), "in their order"
    return found[-1] - len(found)


def left_alone(count: Callable[[], int]) -> bool:
    """Whether nothing is asked for a while of many polls."""
    before = count()
    time.sleep(0.5)
    return count() == before
