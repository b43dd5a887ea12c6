"""OPC UA: 5,000 monitored items that change every second: what reaches Kafka, what is missing, and bare asyncua.

Every value counts one up, so that a missing one shows. Without a queue of room for more the library's own server drops
the oldest and does not say so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.server.server import Server
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors.opcua.config import OpcUaServer
from connectors.opcua.connector import OpcUaConnector
from connectors.publisher import Publisher
from schemas import topics
from streams.engine.cluster import Cluster
from streams.local.service import free_port
from tests.performance.connectors.figures import Figure, apart, beside, peak

ITEMS = 5000
INTERVAL = 1.0
URI = "urn:gridtape:bench"
_START_SECONDS = 120.0
_READ_SECONDS = 120.0


def measure(cluster: Cluster, *, smoke: bool) -> list[Figure]:
    """Values a second in Kafka, values missing among them, and what a bare client gets from the same server."""
    items, seconds = (200, 1.0) if smoke else (ITEMS, 30.0)
    port = free_port()
    with beside(serve, port, items):
        bare = apart(watch_bare, port, items, seconds)
        taken = apart(watch, cluster, port, items, seconds)
    return [
        Figure(what=f"values, {items} items", value=taken["rate"], unit="/s", least=0.98 * items / INTERVAL, bare=bare),
        Figure(what="values missing", value=taken["missing"], unit="", most=0),
        Figure(what="gaps after the first values", value=taken["gaps"], unit="", most=0),
        Figure(what="processor time of the connector", value=taken["busy"], unit="% of a core"),
        Figure(what="peak memory of the connector", value=taken["peak"], unit="MB"),
    ]


def serve(port: int, items: int) -> None:
    """A server whose ``items`` variables all count one up every second."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)

    async def run() -> None:
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        index = await server.register_namespace(URI)
        nodes = [
            (await server.nodes.objects.add_variable(ua.NodeId(number, index), f"N{number}", 0.0)).nodeid
            for number in range(1, items + 1)
        ]
        async with server:
            loop = asyncio.get_running_loop()
            due, value = loop.time(), 0.0
            while True:
                value += 1
                for node in nodes:
                    await server.write_attribute_value(node, ua.DataValue(ua.Variant(value)))
                due += INTERVAL
                await asyncio.sleep(max(0.0, due - loop.time()))

    asyncio.run(run())


def watch(cluster: Cluster, port: int, items: int, seconds: float) -> dict[str, float]:
    """Run the connector, then read from Kafka what it wrote."""
    nodes = [
        {"point": f"p{n}", "namespace": URI, "identifier": f"i={n}", "unit": "1", "sampling_interval": 0.5}
        for n in range(1, items + 1)
    ]
    server = {"name": "bench", "url": f"opc.tcp://127.0.0.1:{port}", "nodes": nodes, "backoff_ceiling": 0.5}
    publisher = Publisher(cluster, "opcua")
    connector = OpcUaConnector([OpcUaServer.model_validate({**server, "timeout": 30, "keep_alive": 30})], publisher)
    stop = threading.Event()
    thread = threading.Thread(target=connector.run, args=(stop,))
    thread.start()
    try:
        _until_all(cluster, items)
        began, busy = time.monotonic(), time.process_time()
        first = sum(_ends(cluster, topics.telemetry.name).values())
        time.sleep(seconds)
        count = sum(_ends(cluster, topics.telemetry.name).values()) - first
        passed = time.monotonic() - began
        busy = 100 * (time.process_time() - busy) / passed
        most = peak()
    finally:
        stop.set()
        thread.join(10)
        publisher.close()
    missing = _missing(_read(cluster, topics.telemetry))
    opened = [gap for gap in _read(cluster, topics.gaps) if gap.open]
    started = 1  # what came before the connector started is not known
    return {"rate": count / passed, "missing": missing, "gaps": len(opened) - started, "busy": busy, "peak": most}


def watch_bare(port: int, items: int, seconds: float) -> float:
    """Values a second that the library's own subscription hands over."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)

    class Counter:
        count = 0

        def datachange_notification(self, _node: Any, _value: Any, _data: Any) -> None:
            self.count += 1

    async def run() -> float:
        await _listens(port)
        async with Client(f"opc.tcp://127.0.0.1:{port}", timeout=60) as client:
            index = await client.get_namespace_index(URI)
            counter = Counter()
            subscription = await client.create_subscription(500, counter)
            nodes = [client.get_node(ua.NodeId(number, index)) for number in range(1, items + 1)]
            await subscription.subscribe_data_change(nodes, queuesize=100)
            await asyncio.sleep(2 * INTERVAL)
            before, began = counter.count, time.monotonic()
            await asyncio.sleep(seconds)
            return (counter.count - before) / (time.monotonic() - began)

    return asyncio.run(run())


async def _listens(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise TimeoutError(f"nobody listens on port {port} after {_START_SECONDS:g} s")


def _ends(cluster: Cluster, topic: str) -> dict[int, int]:
    reader = cluster.reader("bench-ends")
    try:
        name = cluster.named(topic)
        partitions = reader.list_topics(name, timeout=10).topics[name].partitions
        return {p: reader.get_watermark_offsets(TopicPartition(name, p), timeout=10)[1] for p in partitions}
    finally:
        reader.close()


def _until_all(cluster: Cluster, items: int) -> None:
    """Wait until every item has had time for two values."""
    deadline = time.monotonic() + _START_SECONDS
    while sum(_ends(cluster, topics.telemetry.name).values()) < 2 * items:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {2 * items} values in Kafka after {_START_SECONDS:g} s")
        time.sleep(0.2)


def _read(cluster: Cluster, topic: topics.Topic[Any]) -> list[Any]:
    """All records of a topic, each partition in its order."""
    ends = {partition: end for partition, end in _ends(cluster, topic.name).items() if end}
    reader, found = cluster.reader("bench-read"), []
    try:
        reader.assign([TopicPartition(cluster.named(topic.name), p, OFFSET_BEGINNING) for p in ends])
        deadline = time.monotonic() + _READ_SECONDS
        while len(found) < sum(ends.values()):
            messages = reader.consume(10_000, 0.1)
            if not messages and time.monotonic() > deadline:
                told = f"{len(found)} of {sum(ends.values())} records came within {_READ_SECONDS:g} s"
                raise TimeoutError(f"{topic.name}: {told}")
            found += [topic.decode(message.value()) for message in messages if message.error() is None]
    finally:
        reader.close()
    return found


def _missing(samples: list[Any]) -> int:
    """Numbers that were left out between two samples of a point."""
    newest: dict[str, float] = {}
    missing = 0
    for sample in samples:
        if sample.point in newest:
            missing += max(0, round(sample.value - newest[sample.point]) - 1)
        newest[sample.point] = sample.value
    return missing
