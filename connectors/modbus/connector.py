"""The Modbus connector: one task per device, so that one that hangs delays nobody."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

from connectors.device import DeviceFeed
from connectors.fleet import Fleet, Run
from connectors.modbus.config import ModbusDevice
from connectors.modbus.poller import Poller
from connectors.modbus.profile import profile
from connectors.outlet import Outlet


class ModbusConnector:
    """Reads all ``config`` devices until stopped."""

    name = "modbus"

    def __init__(self, config: Sequence[ModbusDevice], outlet: Outlet) -> None:
        self._outlet = outlet
        self._fleet = Fleet(self._make, config)

    def run(self, stop: threading.Event) -> None:
        """Poll until ``stop`` is set; ends within a second of it."""
        # Every failure is told by the poller, with the device's name and what to do.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        asyncio.run(self._fleet.serve(stop))

    def change(self, config: Sequence[ModbusDevice]) -> None:
        """Poll these devices from now on; those that are as before are not disturbed."""
        self._fleet.change(config)

    def _make(self, device: ModbusDevice, stop: threading.Event) -> tuple[DeviceFeed, Run]:
        measured = {each.point: each for each in device.registers}
        feed = DeviceFeed(self._outlet, self.name, profile(device, device.registers), measured=measured)
        return feed, Poller(device, feed, stop).run
