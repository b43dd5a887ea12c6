"""MQTT and Modbus in one process for a long time, as in production; the memory must stay flat."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from connectors.config import Config
from connectors.runner import run_connectors
from streams.engine.cluster import Cluster
from streams.local.mqtt import Mosquitto
from streams.local.service import free_port
from tests.performance.connectors import modbus, mqtt
from tests.performance.connectors.figures import Figure, apart, beside, resident

_RATE = 1000  # MQTT messages a second
_DEVICES = 50  # Modbus, one of ten hangs
_SHARE = 5  # the first and the last fifth are compared; before the first, as much again for warming up


def measure(cluster: Cluster, seconds: float) -> list[Figure]:
    """Memory and its growth. What Kafka has not taken yet counts: on a machine that is too slow it goes up and down."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(Path(folder)) as broker,
        beside(modbus.serve, port),
        beside(mqtt.fill, broker.port, 0, _RATE),
    ):
        sizes, blocks = apart(run, cluster, broker.port, port, seconds, folder)
    return [
        Figure(what=f"memory after {seconds:.0f} s", value=sizes[-1], unit="MB"),
        Figure(what="its growth since the second fifth", value=growth(sizes), unit="%", most=3),
        Figure(what="growth of Python's blocks", value=growth(blocks), unit="%", most=3),
    ]


def growth(sizes: list[float]) -> float:
    """Percent between the medians of the second and of the last fifth."""
    fifth = max(1, len(sizes) // _SHARE)
    return 100 * (statistics.median(sizes[-fifth:]) / statistics.median(sizes[fifth : 2 * fifth]) - 1)


def run(cluster: Cluster, broker: int, device: int, seconds: float, folder: str) -> tuple[list[float], list[float]]:
    """Memory in MB and blocks that Python has allocated, a hundred times within ``seconds``."""
    config = Config(mqtt=mqtt.settings(broker), modbus=modbus.settings(device, _DEVICES, _DEVICES // 10))
    stop = threading.Event()
    thread = threading.Thread(target=run_connectors, args=(config, cluster, stop, Path(folder, "waiting")))
    thread.start()
    sizes, blocks = [], []
    began = time.monotonic()
    for n in range(100):
        time.sleep(max(0.0, began + (n + 1) * seconds / 100 - time.monotonic()))
        sizes.append(resident())
        blocks.append(float(sys.getallocatedblocks()))
    stop.set()
    thread.join(30)
    return sizes, blocks
