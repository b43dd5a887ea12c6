"""A wind farm, ``wind-1``, behind a real OPC UA server, for the demo and for trying things out. Not a real farm.

Its values are a pure function of the seed and of the seconds since its start, new every 0.5 s. Nodes, all Double, in
the namespace ``urn:gridtape:simulator:wind``: ``s=Wind.Output`` MW, ``s=Wind.Forecast`` MW, ``s=Wind.Speed`` m/s,
``s=Wind.NacelleTemp`` Cel. ``simulator.toml`` are settings that read it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from asyncua import ua
from asyncua.server.server import Server

NAMESPACE = "urn:gridtape:simulator:wind"
NODES = ("Wind.Output", "Wind.Forecast", "Wind.Speed", "Wind.NacelleTemp")
CAPACITY = 120.0
"""MW."""
_STEP = 0.5


@dataclass(frozen=True)
class Farm:
    """What the farm does. From ``first_dip`` seconds on, every ``dip_every`` seconds its output falls below 60 % of the
    forecast, for ``dip_for`` seconds. Outside the dips it stays above 85 % of it."""

    seed: int
    first_dip: float | None = None
    dip_every: float = 60.0
    dip_for: float = 20.0

    def values(self, elapsed: float) -> tuple[float, float, float, float]:
        """Output, forecast, wind speed and nacelle temperature, ``elapsed`` seconds after the start."""
        step = int(elapsed / _STEP)
        noise = random.Random(f"{self.seed}/{step}")  # noqa: S311 - values, not secrets
        forecast = CAPACITY * (0.7 + 0.1 * math.sin(elapsed / 211 + self.seed))
        share = 0.97 + 0.04 * math.sin(elapsed / 37 + 2 * self.seed) + noise.uniform(-0.02, 0.02)
        if self._dips(elapsed):
            share = 0.42 + noise.uniform(-0.03, 0.03)
        output = forecast * share
        # Power goes with the cube of the wind speed.
        speed = 12.0 * (output / CAPACITY) ** (1 / 3)
        return output, forecast, speed, 31 + 22 * output / CAPACITY + noise.uniform(-0.2, 0.2)

    def _dips(self, elapsed: float) -> bool:
        if self.first_dip is None or elapsed < self.first_dip:
            return False
        return (elapsed - self.first_dip) % self.dip_every < self.dip_for


def simulate(
    url: str,
    stop: threading.Event,
    *,
    seed: int,
    first_dip: float | None = None,
    dip_every: float = 60.0,
    dip_for: float = 20.0,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve the farm on ``url`` (opc.tcp://host:port/path) until ``stop`` is set; ``ready`` is called when it listens.

    ``first_dip`` None: it never dips. Raises OSError when the address cannot be used.
    """
    # The library warns on every start that there is no encryption: this server is meant for the local machine.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
    asyncio.run(_serve(url, stop, Farm(seed, first_dip, dip_every, dip_for), ready))


async def _serve(url: str, stop: threading.Event, farm: Farm, ready: Callable[[], None]) -> None:
    server = Server()
    await server.init()
    server.set_endpoint(url)
    server.set_server_name("gridtape wind farm simulator")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    folder = await server.nodes.objects.add_object(index, "Wind")
    nodes = [
        await folder.add_variable(ua.NodeId.from_string(f"ns={index};s={name}"), name.removeprefix("Wind."), 0.0)
        for name in NODES
    ]
    async with server:
        ready()
        loop = asyncio.get_running_loop()
        start = due = loop.time()
        while not stop.is_set():
            stamp = ua.DateTime.now(UTC)
            for node, value in zip(nodes, farm.values(due - start), strict=True):
                await server.write_attribute_value(
                    node.nodeid, ua.DataValue(ua.Variant(value), SourceTimestamp=stamp, ServerTimestamp=stamp)
                )
            due += _STEP
            await asyncio.sleep(max(0.0, due - loop.time()))
