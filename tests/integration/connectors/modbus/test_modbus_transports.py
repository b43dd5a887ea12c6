"""What Modbus travels on: serial lines, gateways, TLS; each with pymodbus' own server at the other end."""

from __future__ import annotations

import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import groupby, pairwise

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData

from connectors.modbus.connector import ModbusConnector
from schemas.base import Quality
from tests.integration.connectors.modbus.counterparts import (
    device,
    hostile,
    register,
    rtu,
    serial_line,
    server,
    serving,
)
from tests.unit.connectors.test_tls import Authority

HELD = [SimData(0, datatype=DataType.REGISTERS, values=[11, 22, 33])]


@pytest.mark.parametrize(("framing", "framer"), [("rtu", FramerType.RTU), ("ascii", FramerType.ASCII)])
def test_connector_when_on_a_serial_line_reads_and_reconnects(tape, running, framing, framer):
    with serial_line() as (ours, theirs):
        # A pseudo terminal knows no parity and no characters of seven bits.
        line = {"port": ours, "parity": "none", "stopbits": 1, "bytesize": 8}
        meter = device("meter", 0, [register("x", 1)], framing=framing, serial=line, timeout=0.5)

        def make(unit):
            return ModbusSerialServer(unit, framer=framer, port=theirs)

        with running(lambda p: ModbusConnector([meter], p)):
            with serving(make, HELD):
                tape.until(lambda: len(tape.samples("x")) >= 3, "three polls")
            tape.until(lambda: len(tape.gaps("disconnected")) >= 3, "the silent line is a gap")
            before = len(tape.samples("x"))
            with serving(make, HELD):
                tape.until(lambda: len(tape.samples("x")) > before, "data again")
    assert {(sample.value, sample.quality) for sample in tape.samples("x")} == {(22, Quality.GOOD)}
    assert tape.devices[-1].protocol == f"modbus-{framing}"


def test_connector_when_a_serial_port_does_not_exist_says_so(tape, running, tmp_path):
    meter = device("meter", 0, [register("x", 1)], framing="rtu", serial={"port": str(tmp_path / "ttyUSB9")})
    with running(lambda p: ModbusConnector([meter], p)):
        tape.until(lambda: any("ttyUSB9" in told.reason for told in tape.devices), "the reason")
    assert "does another program use it?" in next(told.reason for told in tape.devices if told.reason)


def test_connector_when_ascii_over_tcp_reads_the_same_values(tape, running, free_port):
    meter = device("meter", free_port, [register("x", 2)], framing="ascii-over-tcp")
    with server(free_port, HELD, FramerType.ASCII), running(lambda p: ModbusConnector([meter], p)):
        tape.until(lambda: tape.samples("x"), "a sample")
    assert tape.samples("x")[0].value == 33


def secured(unit, port: int, authority: Authority, certificate, *, clients: bool = False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.file)
    return ModbusTlsServer(unit, framer=FramerType.SOCKET, address=("127.0.0.1", port), sslctx=context)


def test_connector_when_within_tls_reads_with_certificates_of_both_sides(tape, running, free_port, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue("gridtape")
    plc = device(
        "plc",
        free_port,
        [register("x", 0)],
        tls={"ca_file": str(authority.file), "cert_file": str(cert), "key_file": str(key)},
        timeout=5,
    )
    stranger = device("stranger", free_port, [register("x", 0)], tls={"ca_file": str(authority.file)}, timeout=5)
    certificate = authority.issue("plc")
    with (
        serving(lambda unit: secured(unit, free_port, authority, certificate, clients=True), HELD),
        running(lambda p: ModbusConnector([plc, stranger], p)),
    ):
        tape.until(lambda: len(tape.samples("x", "plc")) >= 3, "three polls")
        tape.until(
            lambda: any(told.device == "stranger" and told.state == "down" for told in tape.devices), "the refusal"
        )
    assert tape.samples("x", "plc")[0].value == 11
    assert not tape.samples("x", "stranger")
    assert next(told.protocol for told in tape.devices if told.device == "plc") == "modbus-tls"


def test_connector_when_the_certificate_has_expired_says_when_and_takes_the_renewed_one(
    tape, running, free_port, tmp_path
):
    authority = Authority(tmp_path)
    plc = device("plc", free_port, [register("x", 0)], tls={"ca_file": str(authority.file)}, timeout=5)
    old = authority.issue("old", start=-8, end=-1)
    with serving(lambda unit: secured(unit, free_port, authority, old), HELD), ExitStack() as reading:
        reading.enter_context(running(lambda p: ModbusConnector([plc], p)))
        tape.until(lambda: any("has expired" in told.reason for told in tape.devices), "the reason")
        assert not tape.samples("x")
        kept = reading.pop_all()
    renewed = authority.issue("renewed")
    with kept, serving(lambda unit: secured(unit, free_port, authority, renewed), HELD):
        tape.until(lambda: tape.samples("x"), "a sample")
    assert "CN=old" in next(told.reason for told in tape.devices if "has expired" in told.reason)


def test_gateway_when_units_share_it_has_one_connection_and_serves_them_in_turn(tape, running):
    asked: list[int] = []
    clients: set[int] = set()

    def answer(frame: bytes, send: Callable[[bytes], None]) -> None:
        clients.add(threading.get_ident())
        tid, _protocol, _length, unit, _function, address, _count = struct.unpack(">HHHBBHH", frame)
        asked.append(unit)
        # Far slower than the units are due again, so that both always wait.
        late = threading.Timer(0.1, send, (struct.pack(">HHHBBBH", tid, 0, 5, unit, 3, 2, 100 * unit + address),))
        late.start()
        late.join()

    many = [register(f"r{address}", address) for address in range(0, 60, 10)]
    with hostile(answer) as port:
        units = [
            device("many", port, many, unit_id=1, timeout=2, max_hole=0, poll_interval=0.05, shared=True),
            device("one", port, [register("x", 7)], unit_id=2, timeout=2, poll_interval=0.05, shared=True),
        ]
        with running(lambda p: ModbusConnector(units, p)):
            tape.until(lambda: len(tape.samples("x", "one")) >= 8, "eight polls of the unit with one register")
    runs = [len(list(run)) for unit, run in groupby(asked) if unit == 1]
    assert max(runs[1:]) <= 2
    assert len(clients) == 1
    assert {sample.value for sample in tape.samples("x", "one")} == {207}
    assert {sample.value for sample in tape.samples("r50", "many")} == {150}


def test_device_when_it_needs_a_pause_is_left_alone_for_as_long(tape, running):
    times: list[tuple[float, float]] = []

    def answer(frame: bytes, send: Callable[[bytes], None]) -> None:
        came = time.monotonic()
        tid, _protocol, _length, unit = struct.unpack(">HHHB", frame[:7])
        times.append((came, time.monotonic()))
        send(struct.pack(">HHHBBBH", tid, 0, 5, unit, 3, 2, 1))

    points = [register(f"r{address}", address) for address in (0, 50, 100)]
    with hostile(answer) as port, running(lambda p: ModbusConnector([device("slow", port, points, pause=0.1)], p)):
        tape.until(lambda: len(tape.samples("r100")) >= 2, "two polls")
    assert all(after[0] - before[1] >= 0.095 for before, after in pairwise(times))


def test_gateway_when_a_unit_behind_it_is_silent_the_others_are_read(tape, running):
    def answer(frame: bytes, send: Callable[[bytes], None]) -> None:
        if frame[0] != 9:
            send(rtu(struct.pack(">BBBH", frame[0], 3, 2, frame[0])))

    with hostile(answer) as port:
        units = [
            device(f"u{unit}", port, [register("x", 0)], unit_id=unit, framing="rtu-over-tcp") for unit in (1, 2, 9)
        ]
        with running(lambda p: ModbusConnector(units, p)):
            tape.until(
                lambda: all(len(tape.samples("x", name)) >= 5 for name in ("u1", "u2")), "five polls of those that work"
            )
            tape.until(lambda: any(told.device == "u9" and told.state == "down" for told in tape.devices), "u9 is down")
    assert {sample.value for sample in tape.samples("x", "u1")} == {1}
    assert {sample.value for sample in tape.samples("x", "u2")} == {2}
    assert not tape.samples("x", "u9")
