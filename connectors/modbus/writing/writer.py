"""Writes one value to one device: looks first, sends once, looks again, and tells exactly what it saw."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from connectors.modbus.config import ModbusDevice, SunSpec
from connectors.modbus.connection import Lines, Lost, Unreachable
from connectors.modbus.decoder import decode, exponent
from connectors.modbus.messages import Refused, wire
from connectors.modbus.plan import Request
from connectors.modbus.registers import Register, Writable
from connectors.modbus.sunspec.discovery import discover
from connectors.modbus.transport import Link
from connectors.modbus.writing.change import Change
from connectors.modbus.writing.encoder import Unwritable, encode
from connectors.units import conversion
from schemas.writes import WriteOutcome

_LOOK_SECONDS = 0.1
_TURNS = 3
"""Of the event loop, after which it has told of an end of the connection that came before."""


class Seen(NamedTuple):
    """What stood in the device: the words on the wire, and the value in the point's unit, if it is one."""

    words: Sequence[int]
    value: float | None
    unit: str
    reason: str = ""

    @property
    def raw(self) -> str:
        """The bytes on the wire, hexadecimal."""
        return wire(self.words).hex(" ")

    def __str__(self) -> str:
        value = f"no value ({self.reason})" if self.value is None else f"{self.value:.15g} {self.unit}"
        return f"{value}, raw {self.raw}"


@dataclass(frozen=True)
class Plan:
    """What would be written. ``power``: of ten, from the scale factor; ``new``: what is read when all goes well."""

    register: Register
    allowed: Writable
    power: int
    change: Change
    before: Seen
    new: Seen


@dataclass(frozen=True)
class Result:
    """What came of it. ``after`` is None when nobody could look."""

    outcome: WriteOutcome
    after: Seen | None
    detail: str


class Writer:
    """One device over a connection of its own; to be left in the end. Not for concurrent use."""

    def __init__(self, device: ModbusDevice) -> None:
        self._device = device
        self._link = Link(device, Lines().to(device))
        self._learned: int | None = None  # the connection on which the device told its registers

    async def plan(self, point: str, asked: Decimal) -> Plan:
        """Look at the device; nothing is changed.

        Raises Unwritable when the settings or the register do not allow ``asked`` (in the point's unit, finite), and
        Lost or Refused when the device cannot be read.
        """
        allowed, where = self._allowed(point)
        if not allowed.allows(asked):
            raise Unwritable(f"{asked} is not allowed: {self._device.name}/{point} may be set to {allowed}")
        register = await self._register(point, where)
        power = await self._power(register)
        change = encode(register, asked, power, multiple=allowed.multiple)
        before = await self._look(register, change, power)
        if self._learned not in (None, self._link.connections):
            raise Unreachable(
                f"the connection to {self._device.name} was made anew: perhaps another device is there now"
            )
        return Plan(register, allowed, power, change, before, _seen(register, _merged(change, before.words), power))

    async def carry_out(self, plan: Plan) -> Result:
        """Write, and look until the device holds it or its timeout has passed."""
        said: Lost | Refused | None = None
        try:
            await self._send(plan.change)
        except Unreachable as away:
            return Result(WriteOutcome.REFUSED, None, f"nothing was sent: {away}")
        except (Lost, Refused) as problem:
            said = problem
        refused = isinstance(said, Refused) and not said.is_in_progress
        try:
            after = await self._settled(plan, patient=not refused)
        except (Lost, Refused) as problem:
            if refused:
                return Result(WriteOutcome.REFUSED, None, f"{said}; and it cannot be read any more: {problem}")
            told = "it confirmed the write" if said is None else f"it did not confirm the write ({said})"
            return Result(WriteOutcome.UNKNOWN, None, f"{told}, but cannot be read any more: {problem}")
        if refused:
            return Result(WriteOutcome.REFUSED, after, f"{said}; it holds {after}")
        if plan.change.holds(after.words):
            return Result(WriteOutcome.WRITTEN, after, f"it holds {after}" + (f", though: {said}" if said else ""))
        if said is None:
            return Result(WriteOutcome.DIFFERENT, after, f"it confirmed the write, but holds {after}, not {plan.new}")
        return Result(WriteOutcome.UNKNOWN, after, f"{said}; it holds {after}, and may still change it")

    def leave(self) -> None:
        """Close the connection."""
        self._link.leave()

    async def _send(self, change: Change) -> None:
        """Once, on the connection of the read before it. Raises Unreachable when nothing was sent, Refused, Lost."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if not self._link.connected:
            raise Unreachable(
                f"the connection to {self._device.address} has ended: perhaps another device is there now"
            )
        await self._link.ask(change, change.question(), change.confirm)

    def _allowed(self, point: str) -> tuple[Writable, Register | SunSpec]:
        """The permission for ``point``, and what says where it stands. Raises Unwritable."""
        device = self._device
        named = {one.point: one for one in device.registers}
        if point in named:
            if (allowed := named[point].writable) is not None:
                return allowed, named[point]
            raise Unwritable(
                f"{device.name}/{point} is not writable: whoever may change the settings gives it "
                "writable = { minimum = ..., maximum = ... }"
            )
        if device.sunspec is None:
            raise Unwritable(f"{device.name} has no point {point}; it has {', '.join(named)}")
        if point in device.sunspec.writable:
            return device.sunspec.writable[point], device.sunspec
        raise Unwritable(f"{device.name}/{point} is not writable: [modbus.sunspec.writable] does not name it")

    async def _register(self, point: str, where: Register | SunSpec) -> Register:
        """As the settings or the device describe it. Raises Unwritable, Lost."""
        if isinstance(where, Register):
            return where
        only = where.model_copy(update={"points": [point], "settings": True})
        found, self._learned = await discover(self._link, self._device, only)
        register = next((one for one in found.registers if one.point == point), None)
        if register is None:
            raise Unwritable(f"{self._device.name} has a SunSpec map, but no point {point} in it that is a number")
        return register

    async def _power(self, register: Register) -> int:
        """The power of ten in its scale factor. Raises Unwritable, Lost, Refused."""
        if register.factor is None:
            return 0
        power = exponent([int(word) for word in await self._link.read(Request.spanning([register.factor]))])
        if isinstance(power, str):
            raise Unwritable(f"no scale factor from {register.factor}: {power}")
        return power

    async def _look(self, register: Register, change: Change, power: int) -> Seen:
        return _seen(register, await self._link.read(change.request), power)

    async def _settled(self, plan: Plan, *, patient: bool) -> Seen:
        """What the device holds; ``patient``: until it holds what it should, for a timeout. Raises Lost, Refused."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._device.timeout / 1e6
        while True:
            after = await self._look(plan.register, plan.change, plan.power)
            if plan.change.holds(after.words) or not patient or loop.time() > deadline:
                return after
            await asyncio.sleep(_LOOK_SECONDS)


def _merged(change: Change, before: Sequence[int]) -> Sequence[int]:
    """What stands there when ``change`` has been made."""
    if change.mask is None:
        return change.words
    return [before[0] & ~change.mask | change.words[0] & change.mask]


def _seen(register: Register, words: Sequence[int], power: int) -> Seen:
    reading = decode(register, words, power)
    value = reading.value
    if value is not None and register.source_unit is not None:
        value = conversion(register.source_unit, register.unit)(value)
    return Seen(words, value, register.unit, reading.reason)
