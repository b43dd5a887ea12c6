"""The polling plan: neighbouring registers in one request, never more than the device allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from connectors.modbus.config import Kind, ModbusDevice, Register


@dataclass(frozen=True)
class Request:
    """One read: ``count`` registers or bits of a ``kind`` from ``address``, and the points that lie within."""

    kind: Kind
    address: int
    count: int
    registers: tuple[Register, ...]

    @classmethod
    def spanning(cls, registers: Iterable[Register]) -> Request:
        """The smallest request that holds all of ``registers`` (one kind, at least one)."""
        members = tuple(registers)
        start = min(register.address for register in members)
        end = max(register.end for register in members)
        return cls(kind=members[0].kind, address=start, count=end - start, registers=members)

    def slices(self) -> Iterator[tuple[Register, slice]]:
        """Each point with its part of the answer."""
        for register in self.registers:
            yield register, slice(register.address - self.address, register.end - self.address)

    def halves(self) -> tuple[Request, ...]:
        """The request in two smaller ones, to find what the device refused; empty when it holds one point."""
        if len(self.registers) < 2:
            return ()
        middle = len(self.registers) // 2
        return (Request.spanning(self.registers[:middle]), Request.spanning(self.registers[middle:]))

    def __str__(self) -> str:
        return f"{self.kind} {self.address}" + (f" to {self.address + self.count - 1}" if self.count > 1 else "")


def plan(device: ModbusDevice) -> list[Request]:
    """The requests of one poll, in order of kind and address.

    Each register is in exactly one request and wholly within it; no request exceeds ``max_registers`` or ``max_bits``,
    and none reads more than ``max_hole`` unused addresses in a row.
    """
    requests = []
    for kind, members in groupby(sorted(device.registers, key=lambda r: (r.kind, r.address, r.end)), lambda r: r.kind):
        limit = device.max_bits if kind.is_bit else device.max_registers
        group: list[Register] = []
        end = 0
        for register in members:
            joined = max(end, register.end)
            if group and (register.address - end > device.max_hole or joined - group[0].address > limit):
                requests.append(Request.spanning(group))
                group, joined = [], register.end
            group.append(register)
            end = joined
        requests.append(Request.spanning(group))
    return requests
