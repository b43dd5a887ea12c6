"""Modbus: 200 devices with 50 registers each, read every second; how late a poll begins, and so with bare pymodbus.

With ``hanging`` some of the devices take a connection and never answer.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import struct
import threading
import time
from typing import Any

from prometheus_client import REGISTRY
from pymodbus.client import AsyncModbusTcpClient

from connectors.modbus.config import ModbusDevice
from connectors.modbus.connector import ModbusConnector
from connectors.publisher import Publisher
from streams.engine.cluster import Cluster
from streams.local.service import free_port
from tests.performance.connectors.figures import Figure, apart, beside, listens, peak

REGISTERS = 50
INTERVAL = 1.0
HOSTS = [f"127.0.1.{n}" for n in range(1, 201)]  # units at one address would share a connection (Linux: all loopback)


def measure(cluster: Cluster, *, smoke: bool) -> list[Figure]:
    """Lateness of the polls of 200 devices, alone and while 20 of them hang, and that of bare pymodbus."""
    devices, seconds = (10, 1.0) if smoke else (200, 30.0)
    port = free_port()
    with beside(serve, port):
        bare = apart(poll_bare, port, devices, seconds)
        alone = apart(poll, cluster, port, devices, 0, seconds)
        others = apart(poll, cluster, port, devices, devices // 10, seconds)
    return [
        Figure(what=f"p99 lateness, {devices} devices", value=alone["p99"], unit="ms", most=100, bare=bare),
        Figure(what=f"p99 lateness, {devices // 10} of them hang", value=others["p99"], unit="ms", most=100),
        Figure(what="values read", value=alone["rate"], unit="/s", least=0.98 * devices * REGISTERS / INTERVAL),
        Figure(what="processor time of the connector", value=alone["busy"], unit="% of a core"),
        Figure(what="peak memory of the connector", value=alone["peak"], unit="MB"),
    ]


def settings(port: int, devices: int, hanging: int = 0) -> list[ModbusDevice]:
    """Unit 1 answers, unit 2 does not."""
    registers = [{"point": f"r{n}", "kind": "holding", "address": n, "type": "uint16", "unit": "1"} for n in range(50)]
    return [
        ModbusDevice.model_validate(
            {
                "name": f"m{n}",
                "host": HOSTS[n],
                "port": port,
                "unit_id": 2 if n < hanging else 1,
                "poll_interval": INTERVAL,
                "registers": registers,
            }
        )
        for n in range(devices)
    ]


def serve(port: int) -> None:
    """A device for any number of connections, which has registers for unit 1 and no answer for unit 2.

    Own code: pymodbus' server takes the machine that the measured client needs.
    """

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                transaction, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
                if unit == 1:
                    body = struct.pack(">BBB", unit, function, 2 * count) + bytes(range(1, 2 * count + 1))
                    writer.write(struct.pack(">HHH", transaction, 0, len(body)) + body)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(client, HOSTS, port)
        await server.serve_forever()

    asyncio.run(run())


def poll(cluster: Cluster, port: int, devices: int, hanging: int, seconds: float) -> dict[str, float]:
    """Run the connector: p99 lateness of the devices that answer in ms, values a second, percent of a core, peak MB."""
    listens(HOSTS[-1], port)
    publisher = Publisher(cluster, "modbus")
    connector = ModbusConnector(settings(port, devices, hanging), publisher)
    stop = threading.Event()
    thread = threading.Thread(target=connector.run, args=(stop,))
    thread.start()
    time.sleep(2 * INTERVAL)  # connections are made, caches warm up
    names = {f"m{n}" for n in range(hanging, devices)}
    late, read, began, busy = _lateness(names), _read(names), time.monotonic(), time.process_time()
    time.sleep(seconds)
    late = {bound: count - late[bound] for bound, count in _lateness(names).items()}
    passed = time.monotonic() - began
    rate, busy = (_read(names) - read) / passed, 100 * (time.process_time() - busy) / passed
    stop.set()
    thread.join(10)
    publisher.close()
    return {"p99": 1000 * quantile(late, 0.99), "rate": rate, "busy": busy, "peak": peak()}


def poll_bare(port: int, devices: int, seconds: float) -> float:
    """p99 lateness in ms of as many loops with a client each and nothing behind it."""
    listens(HOSTS[-1], port)
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    late: list[float] = []

    async def one(host: str) -> None:
        client = AsyncModbusTcpClient(host, port=port, retries=0)
        await client.connect()
        loop = asyncio.get_running_loop()
        begin = due = loop.time()
        while due < begin + seconds:
            late.append(loop.time() - due)
            await client.read_holding_registers(0, count=REGISTERS, device_id=1)
            due += INTERVAL
            await asyncio.sleep(due - loop.time())
        client.close()

    async def run() -> None:
        await asyncio.gather(*(one(host) for host in HOSTS[:devices]))

    asyncio.run(run())
    return 1000 * statistics.quantiles(late, n=100)[98]


def quantile(buckets: dict[float, float], share: float) -> float:
    """From cumulative histogram buckets, linear within one, as Prometheus' histogram_quantile."""
    total = buckets[float("inf")]
    lower = before = 0.0
    for bound, count in sorted(buckets.items()):
        if count >= share * total:
            return (
                lower
                if bound == float("inf")
                else lower + (bound - lower) * (share * total - before) / max(count - before, 1)
            )
        lower, before = bound, count
    raise AssertionError("unreachable: the last bucket holds all")


def _samples(name: str) -> Any:
    return [sample for metric in REGISTRY.collect() for sample in metric.samples if sample.name == name]


def _lateness(names: set[str]) -> dict[float, float]:
    found: dict[float, float] = {}
    for sample in _samples("gridtape_modbus_poll_lateness_seconds_bucket"):
        if sample.labels["device"] in names:
            bound = float(sample.labels["le"])
            found[bound] = found.get(bound, 0.0) + sample.value
    return found


def _read(names: set[str]) -> float:
    taken = _samples("gridtape_connector_records_total")
    return float(sum(sample.value for sample in taken if sample.labels["device"] in names))
