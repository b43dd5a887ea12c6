"""The Modbus connector: one task per device, so that one that hangs delays nobody."""

from __future__ import annotations

import asyncio
import logging
import threading

from connectors.device import DeviceFeed, serve
from connectors.lifecycle import Profile, profile_of
from connectors.modbus.config import ModbusDevice
from connectors.modbus.poller import Poller
from connectors.outlet import Outlet


class ModbusConnector:
    """Reads all ``config`` devices until stopped."""

    name = "modbus"

    def __init__(self, config: list[ModbusDevice], outlet: Outlet) -> None:
        self._devices = config
        self._outlet = outlet

    def run(self, stop: threading.Event) -> None:
        """Poll until ``stop`` is set; ends within a second of it."""
        # Every failure is told by the poller, with the device's name and what to do.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        asyncio.run(self._run(stop))

    async def _run(self, stop: threading.Event) -> None:
        feeds = [
            DeviceFeed(self._outlet, self.name, profile(one), measured={each.point: each for each in one.registers})
            for one in self._devices
        ]
        pollers = [Poller(device, feed, stop) for device, feed in zip(self._devices, feeds, strict=True)]
        await serve([(feed, poller.run) for feed, poller in zip(feeds, pollers, strict=True)], stop)


def profile(device: ModbusDevice) -> Profile:
    """What is told of a device beside its samples."""
    points = ((one.point, one.unit, one.range) for one in device.registers)
    return profile_of(device.name, f"modbus-{device.framing}", device, points)
