"""What is told of a device beside its samples."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.lifecycle import Profile, profile_of
from connectors.modbus.config import ModbusDevice
from connectors.modbus.registers import Register


def profile(device: ModbusDevice, registers: Sequence[Register], nameplate: str = "") -> Profile:
    """The device with these points; ``nameplate``: what it says it is, where the settings name no asset."""
    points = ((one.point, one.unit, one.range) for one in registers)
    where = device if device.asset else device.model_copy(update={"asset": nameplate})
    return profile_of(device.name, f"modbus-{'tls' if device.tls else device.framing}", where, points)
