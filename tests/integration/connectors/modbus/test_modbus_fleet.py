"""Two hundred devices of which twenty hang: the others are read as if these were not there."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from connectors.capture.rehearsal import Notebook
from connectors.modbus.config import ModbusDevice
from connectors.modbus.connector import ModbusConnector
from tests.conftest import wait_until

DEVICES, HANGING = 200, 20
ANSWERS, HANGS = 1, 2


@contextmanager
def plant(asked: set[int]) -> Iterator[list[int]]:
    """Ports on each of which unit 1 answers every request and unit 2 none; ``asked``: the units that were spoken to."""
    stop, ready, ports = threading.Event(), threading.Event(), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                asked.add(unit)
                if unit == ANSWERS:
                    body = struct.pack(">BBB", unit, function, 2 * count) + b"\0\7" * count
                    writer.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def run() -> None:
        servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for _ in range(DEVICES)]
        ports.extend(server.sockets[0].getsockname()[1] for server in servers)
        ready.set()
        while not stop.is_set():  # noqa: ASYNC110 - a threading.Event cannot be awaited
            await asyncio.sleep(0.05)
        for server in servers:
            server.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.timeout(180)
def test_fleet_when_twenty_of_two_hundred_hang_reads_the_others_at_their_pace():
    asked: set[int] = set()
    with plant(asked) as ports:
        registers = [{"point": f"r{n}", "kind": "holding", "address": n, "type": "uint16", "unit": "1"} for n in (0, 1)]
        devices = [
            ModbusDevice.model_validate(
                {
                    "name": f"m{n}",
                    "host": "127.0.0.1",
                    "port": ports[n],
                    "unit_id": HANGS if n < HANGING else ANSWERS,
                    "poll_interval": 1,
                    "timeout": 60,  # whoever waited for one of these would not be done before the test is given up
                    "registers": registers,
                }
            )
            for n in range(DEVICES)
        ]
        found, stop = Notebook(), threading.Event()
        connector = threading.Thread(target=ModbusConnector(devices, found).run, args=(stop,))
        connector.start()
        working = [f"m{n}" for n in range(HANGING, DEVICES)]
        try:
            wait_until(lambda: max(found.count.values(), default=0) >= 8, 50)
            polls = [found.count[name, "r0"] for name in working]
        finally:
            stop.set()
            connector.join(10)
    assert not connector.is_alive(), "devices that hang must not hold up the end either"
    assert asked == {ANSWERS, HANGS}
    assert not any(found.count[f"m{n}", "r0"] for n in range(HANGING))
    # All are behind alike when the machine is slow; none is behind the others because of a neighbour.
    assert 2 * min(polls) >= max(polls)
