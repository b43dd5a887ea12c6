"""A gas plant, ``gas-1``, behind a real Modbus TCP server, for the demo and for trying things out. Not a real plant.

Its values are a pure function of the seed, of the seconds since its start, and of the set point: its output stays
below what holding register 0 says. ``simulator.toml`` are settings that read it.

Register map (unit 1): input registers 0 output_mw float32;
2 available_mw float32, low word first; 4 fuel_flow uint16 in 0.01 kg/s; 5 exhaust_temp int16 in 0.1 Cel; holding
registers 0 setpoint_mw float32; coil 0 running.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

CAPACITY = 400.0
"""MW."""
_STEP = 0.5  # seconds between two values


@dataclass(frozen=True)
class Plant:
    """What the plant does. Every ``dip_every`` seconds its output falls to about half, for ``dip_for`` seconds."""

    seed: int
    dip_every: float | None = None
    dip_for: float = 20.0

    def registers(self, elapsed: float, setpoint: float = CAPACITY) -> list[int]:
        """The six input registers, ``elapsed`` seconds after the start, with a set point in MW."""
        available = CAPACITY * (0.95 + 0.03 * math.sin(elapsed / 97 + self.seed))
        output = min(available * self._load(elapsed), max(setpoint, 0.0))
        fuel = output * 0.0525
        exhaust = 520 + 90 * output / CAPACITY
        high, low = _words(available)
        return [*_words(output), low, high, round(fuel * 100), round(exhaust * 10)]

    def _load(self, elapsed: float) -> float:
        step = int(elapsed / _STEP)
        noise = random.Random(f"{self.seed}/{step}").gauss(0, 0.004)  # noqa: S311 - a value, not a secret
        load = 0.93 + 0.03 * math.sin(elapsed / 41 + 2 * self.seed) + noise
        if self.dip_every and elapsed >= self.dip_every and elapsed % self.dip_every < self.dip_for:
            load *= 0.52
        return min(load, 1.0)


def _words(value: float) -> list[int]:
    """A float32 in two registers."""
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def simulate(
    host: str,
    port: int,
    stop: threading.Event,
    *,
    seed: int,
    dip_every: float | None = None,
    dip_for: float = 20.0,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve the plant on ``host``:``port`` until ``stop`` is set; ``ready`` is called when it listens.

    Raises OSError when the address cannot be used.
    """
    asyncio.run(_serve(host, port, stop, Plant(seed, dip_every, dip_for), ready))


async def _serve(host: str, port: int, stop: threading.Event, plant: Plant, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    held = _words(CAPACITY)

    async def refresh(
        function: int,
        _start: int,
        address: int,
        count: int,
        registers: list[int],
        stored: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if function == 4:
            (setpoint,) = struct.unpack(">f", struct.pack(">HH", *held))
            registers[:6] = plant.registers(loop.time() - start, setpoint)
        elif function in (6, 16) and stored:
            held[address : address + count] = stored
        return None

    unused = [SimData(0, datatype=DataType.BITS, values=[False] * 16)]
    device = SimDevice(
        1,
        simdata=(
            [SimData(0, datatype=DataType.BITS, values=[True] + [False] * 15)],
            unused,
            [SimData(0, datatype=DataType.REGISTERS, values=list(held))],
            [SimData(0, datatype=DataType.REGISTERS, values=plant.registers(0.0))],
        ),
        action=refresh,
    )
    server = ModbusTcpServer(device, address=(host, port))
    if not await server.listen():
        raise OSError(f"cannot listen on {host}:{port}; is another program using the port?")
    try:
        ready()
        while not stop.is_set():  # noqa: ASYNC110 - a threading.Event cannot be awaited
            await asyncio.sleep(0.1)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]
