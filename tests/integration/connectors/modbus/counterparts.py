"""The other side of the Modbus tests: pymodbus' server, and hosts that answer whatever a test likes."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import socket
import threading
import tty
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from connectors.modbus.config import ModbusDevice


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
