"""A battery and a pipeline that publish over MQTT, for the demo, for trying things out and for the tests. None is real.

What they send follows from the seed; ``simulator.toml`` are settings that read it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion

from connectors import clock
from schemas.cloudevents import timestamp

log = structlog.get_logger(__name__)
CAPACITY_MWH = 40.0
POWER_MW = 20.0


@dataclass(frozen=True, slots=True)
class Reading:
    """All values of one step. Power is positive while the battery feeds the grid."""

    soc: float
    power: float
    temperature: float
    pressure: float
    flow: float


def readings(seed: int, step_seconds: float = 0.5) -> Iterator[Reading]:
    """Endless plausible values, one per step; the same seed gives the same ones.

    soc %, power MW, temperature Cel; pressure bar and flow m3/h. A battery that is empty stops discharging.
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation
    soc, power, temperature, pressure = 60.0, 0.0, 25.0, 62.0
    step = 0
    while True:
        wanted = POWER_MW * math.sin(step * step_seconds / 30.0) + rng.gauss(0.0, 1.0)
        power += (max(-POWER_MW, min(POWER_MW, wanted)) - power) * 0.3
        if (soc <= 5.0 and power > 0) or (soc >= 95.0 and power < 0):
            power = 0.0
        # Sixty times as fast as the real one, so that a demo of a minute shows a change.
        soc = max(0.0, min(100.0, soc - power * step_seconds / 60.0 / CAPACITY_MWH * 100.0))
        temperature += (25.0 + abs(power) * 0.8 - temperature) * 0.02 + rng.gauss(0.0, 0.05)
        pressure += (62.0 - pressure) * 0.1 + rng.gauss(0.0, 0.15)
        flow = 1200.0 * math.sqrt(max(pressure, 0.0) / 62.0) + rng.gauss(0.0, 5.0)
        yield Reading(round(soc, 3), round(power, 3), round(temperature, 2), round(pressure, 3), round(flow, 1))
        step += 1


def simulate(
    host: str,
    port: int,
    stop: threading.Event,
    *,
    battery: str = "battery-1",
    pipeline: str = "pipeline-1",
    seed: int = 1,
    interval: float = 0.5,
) -> None:
    """Publish until ``stop``: every ``interval`` seconds each point once, QoS 1, MQTT 3.1.1 (every broker knows it).

    ``plants/{battery}/soc|power|temperature``: JSON with value, unit, quality, sequence and time;
    ``pipelines/{pipeline}/pressure|flow``: plain numbers. ``plants/{battery}/status``: online, and as its last will
    offline, retained. While the broker is away the client reconnects and keeps up to 10,000 messages.
    """
    status = f"plants/{battery}/status"
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=f"simulator-{battery}", clean_session=False, protocol=paho.MQTTv311
    )
    client.will_set(status, "offline", qos=1, retain=True)
    client.on_connect = lambda client, *_: client.publish(status, "online", qos=1, retain=True)
    client.max_queued_messages_set(10_000)
    client.reconnect_delay_set(min_delay=1, max_delay=5)
    client.connect_async(host, port, keepalive=15)
    client.loop_start()
    log.info("simulating field devices", broker=f"{host}:{port}", battery=battery, pipeline=pipeline, seed=seed)
    due = time.monotonic()
    try:
        for sequence, now in enumerate(readings(seed, interval), start=1):
            for point, value, unit in (
                ("soc", now.soc, "%"),
                ("power", now.power, "MW"),
                ("temperature", now.temperature, "Cel"),
            ):
                sample = {
                    "value": value,
                    "unit": unit,
                    "quality": "good",
                    "sequence": sequence,
                    "time": timestamp(clock.now()),
                }
                client.publish(f"plants/{battery}/{point}", msgspec.json.encode(sample), qos=1)
            for point, value in (("pressure", now.pressure), ("flow", now.flow)):
                client.publish(f"pipelines/{pipeline}/{point}", f"{value}", qos=1)
            due += interval
            if stop.wait(max(0.0, due - time.monotonic())):
                return
    finally:
        client.publish(status, "offline", qos=1, retain=True)  # who says goodbye has no last will
        client.disconnect()
        client.loop_stop()
