"""The Modbus connector: one task per device, so that one that hangs delays nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from connectors.device import DeviceFeed
from connectors.fleet import Fleet, Run
from connectors.modbus.config import ModbusDevice
from connectors.modbus.connection import Lines
from connectors.modbus.poller import Poller
from connectors.modbus.profile import profile
from connectors.outlet import Outlet


class ModbusConnector:
    """Reads all ``config`` devices until stopped."""

    name = "modbus"

    def __init__(self, config: Sequence[ModbusDevice], outlet: Outlet) -> None:
        self._outlet = outlet
        self._lines = Lines()
        self._fleet = Fleet(self._make, config)

    def run(self, stop: threading.Event) -> None:
        """Poll until ``stop`` is set; ends within a second of it."""
        asyncio.run(self._fleet.serve(stop))

    def change(self, config: Sequence[ModbusDevice]) -> None:
        """Poll these devices from now on; those that are as before are not disturbed."""
        self._fleet.change(config)

    def _make(self, device: ModbusDevice, stop: threading.Event) -> tuple[DeviceFeed, Run]:
        measured = {each.point: each for each in device.registers}
        feed = DeviceFeed(self._outlet, self.name, profile(device, device.registers), measured=measured)

        async def read() -> None:
            # Taken anew each time: a poller that ends leaves its connection.
            await Poller(device, self._lines.to(device), feed, stop).run()

        return feed, read
