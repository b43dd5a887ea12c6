"""MQTT and Modbus in one process for a long time, as in production; the memory must stay flat."""

from __future__ import annotations

import statistics
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
    """Growth in percent between the medians of the second and of the last fifth."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(Path(folder)) as broker,
        beside(modbus.serve, port),
        beside(mqtt.fill, broker.port, 0, _RATE),
    ):
        sizes = apart(run, cluster, broker.port, port, seconds, folder)
    fifth = max(1, len(sizes) // _SHARE)
    before, after = statistics.median(sizes[fifth : 2 * fifth]), statistics.median(sizes[-fifth:])
    return [
        Figure(what=f"memory after {seconds:.0f} s", value=after, unit="MB"),
        Figure(what="growth since the second fifth", value=100 * (after / before - 1), unit="%", most=3),
    ]


def run(cluster: Cluster, broker: int, device: int, seconds: float, folder: str) -> list[float]:
    """Memory in MB, a hundred times within ``seconds``."""
    config = Config(mqtt=mqtt.settings(broker), modbus=modbus.settings(device, _DEVICES, _DEVICES // 10))
    stop = threading.Event()
    thread = threading.Thread(target=run_connectors, args=(config, cluster, stop, Path(folder, "waiting")))
    thread.start()
    sizes = []
    began = time.monotonic()
    for n in range(100):
        time.sleep(max(0.0, began + (n + 1) * seconds / 100 - time.monotonic()))
        sizes.append(resident())
    stop.set()
    thread.join(30)
    return sizes
