"""The other side of the Modbus tests: pymodbus' server, other libraries' servers, and hosts that answer anything."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import socket
import struct
import subprocess
import threading
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from decimal import Decimal
from typing import Any

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from connectors.modbus.config import ModbusDevice
from connectors.modbus.registers import Register
from connectors.modbus.writing.writer import Result, Writer
from tests.conftest import wait_until


def register(point: str, address: int, type_: str = "uint16", **fields):
    return {"point": point, "kind": "holding", "address": address, "type": type_, "unit": "1", **fields}


def device(name: str, port: int, registers: list[dict], **fields) -> ModbusDevice:
    settings = {"poll_interval": 0.1, "timeout": 0.3, "backoff_ceiling": 0.5, "retries": 0}
    where = {} if "serial" in fields else {"host": "127.0.0.1", "port": port}
    return ModbusDevice.model_validate({"name": name, **where, "registers": registers, **settings, **fields})


Action = Callable[[int, int, list[int], list[int] | list[bool] | None], Awaitable[ExcCodes | None]]
"""What a device does with a request: function, address, all registers of the table, and what is to be stored, which may
be altered; None: it is read."""


@contextmanager
def serving(
    make: Callable[[SimDevice], Any],
    holding: list[SimData],
    live: list[int] | None = None,
    acts: Action | None = None,
) -> Iterator[None]:
    """What ``make`` makes of unit 1 with these holding registers; what is in ``live`` later is what they hold then."""
    stop, ready = threading.Event(), threading.Event()

    async def refresh(
        function: int, _start: int, address: int, _count: int, registers: list[int], stored: Any
    ) -> ExcCodes | None:
        if acts is not None:
            return await acts(function, address, registers, stored)
        if function == 3 and live is not None:
            registers[: len(live)] = live
        return None

    async def serve() -> None:
        bits = [SimData(0, datatype=DataType.BITS, values=[True, False] * 8)]
        inputs = [SimData(0, datatype=DataType.REGISTERS, values=[0])]
        modbus = make(SimDevice(1, simdata=(bits, bits, holding, inputs), action=refresh))
        assert await modbus.listen()
        ready.set()
        while not stop.is_set():  # noqa: ASYNC110 - a threading.Event cannot be awaited
            await asyncio.sleep(0.02)
        await modbus.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield
    finally:
        stop.set()
        thread.join()


def server(
    port: int,
    holding: list[SimData],
    framer: FramerType = FramerType.SOCKET,
    live: list[int] | None = None,
    acts: Action | None = None,
) -> AbstractContextManager[None]:
    """pymodbus' TCP server."""
    address = ("127.0.0.1", port)
    return serving(lambda unit: ModbusTcpServer(unit, framer=framer, address=address), holding, live, acts)


@contextmanager
def serial_line() -> Iterator[tuple[str, str]]:
    """The names of both ends of a serial line: two pseudo terminals; what goes into one comes out of the other."""
    masters, slaves = zip(*(pty.openpty() for _ in range(2)), strict=True)
    for slave in slaves:
        tty.setraw(slave)
    stopped, stop = os.pipe()

    def pass_on() -> None:
        while stopped not in (ready := select.select([*masters, stopped], [], [])[0]):
            for master in ready:
                os.write(masters[1 - masters.index(master)], os.read(master, 1024))

    thread = threading.Thread(target=pass_on)
    thread.start()
    try:
        yield os.ttyname(slaves[0]), os.ttyname(slaves[1])
    finally:
        os.write(stop, b"x")
        thread.join()
        for handle in (*masters, *slaves, stopped, stop):
            os.close(handle)


@contextmanager
def hostile(answer: Callable[[bytes, Callable[[bytes], None]], None]) -> Iterator[int]:
    """A TCP server that gives each frame it receives, and the means to answer it whenever it likes, to ``answer``."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve(client: socket.socket) -> None:
        def send(frame: bytes) -> None:
            with suppress(OSError):  # the other side has hung up: that is what it should do
                client.sendall(frame)

        while True:
            try:
                frame = client.recv(300)
            except OSError:
                return
            if not frame:
                return
            answer(frame, send)

    def accept() -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            clients.append(client)
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for client in clients:
            client.close()


def rtu(frame: bytes) -> bytes:
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


class Peer:
    """A server in a process of its own; ``said``: the JSON lines that it wrote."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.said: list[dict[str, Any]] = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | env)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

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


@contextmanager
def peer(command: list[str], **env: str) -> Iterator[Peer]:
    """The server that ``command`` starts, from when it listens; kill -9 at the end."""
    one = Peer(command, env)
    try:
        wait_until(lambda: bool(one.said))
        assert one.said[0] == {"event": "listening"}
        yield one
    finally:
        one.kill()


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
Tables = dict[str, dict[int, int]]


def every_type() -> tuple[Tables, list[dict], dict[str, float]]:
    """Tables that hold every type in every order, by struct; the points that read them; what each must say."""
    tables: Tables = {"holding": {}, "input": {}, "coil": {0: 1, 1: 0}, "discrete": {0: 0, 1: 1}}
    points = [{**register(f"{kind}.{at}", at, "bool"), "kind": kind} for kind in ("coil", "discrete") for at in (0, 1)]
    expected = {f"{kind}.{at}": float(tables[kind][at]) for kind in ("coil", "discrete") for at in (0, 1)}
    for kind in ("holding", "input"):
        for byte_order, word_order in ORDERS:
            for type_, (layout, value) in VALUES.items():
                name, at = f"{kind}.{type_}.{byte_order}.{word_order}", len(tables[kind])
                raw = struct.pack(f">{layout}", value)
                words = [int.from_bytes(raw[n : n + 2], byte_order) for n in range(0, len(raw), 2)]
                tables[kind] |= dict(enumerate(words if word_order == "big" else words[::-1], at))
                orders = {"byte_order": byte_order, "word_order": word_order}
                points.append({**register(name, at, type_, **orders), "kind": kind})
                expected[name] = float(value)
    return tables, points, expected


def written(there: ModbusDevice, point: dict[str, Any], value: str) -> Result:
    """What the writer sees when it sets ``point``, whatever its settings say, where ``there`` is."""
    writable = {"minimum": -1e9, "maximum": 1e9, "multiple": point.get("multiple", False)}
    one = Register.model_validate({**{k: v for k, v in point.items() if k != "multiple"}, "writable": writable})

    async def write() -> Result:
        writer = Writer(there.model_copy(update={"registers": [one]}))
        try:
            return await writer.carry_out(await writer.plan(one.point, Decimal(value)))
        finally:
            writer.leave()

    return asyncio.run(write())
