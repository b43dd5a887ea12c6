"""The polling plan: neighbouring registers in one request, never more than the device allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from connectors.modbus.config import ModbusDevice
from connectors.modbus.registers import Kind, Register, ScaleFactor

Part = Register | ScaleFactor
"""What a request is made for."""


@dataclass(frozen=True)
class Request:
    """One read: ``count`` registers or bits of a ``kind`` from ``address``, and what lies within.

    Requests that ask for the same are equal, whatever they are asked for.
    """

    kind: Kind
    address: int
    count: int
    parts: tuple[Part, ...] = field(default=(), compare=False)

    @classmethod
    def spanning(cls, parts: Iterable[Part]) -> Request:
        """The smallest request that holds all of ``parts`` (one kind, at least one)."""
        members = tuple(parts)
        start = min(part.address for part in members)
        end = max(part.end for part in members)
        return cls(kind=members[0].kind, address=start, count=end - start, parts=members)

    @cached_property
    def registers(self) -> list[Register]:
        """The points among the parts."""
        return [part for part in self.parts if isinstance(part, Register)]

    @cached_property
    def factors(self) -> list[ScaleFactor]:
        """The scale factors among the parts."""
        return [part for part in self.parts if isinstance(part, ScaleFactor)]

    def place(self, part: Part) -> slice:
        """Where ``part`` stands in the answer."""
        return slice(part.address - self.address, part.end - self.address)

    def halves(self) -> tuple[Request, ...]:
        """The request in two smaller ones, to find what the device refused; empty when it holds one part."""
        if len(self.parts) < 2:
            return ()
        middle = len(self.parts) // 2
        return (Request.spanning(self.parts[:middle]), Request.spanning(self.parts[middle:]))

    def __str__(self) -> str:
        return f"{self.kind} {self.address}" + (f" to {self.address + self.count - 1}" if self.count > 1 else "")


def plan(device: ModbusDevice, registers: Sequence[Register]) -> list[Request]:
    """The requests of one poll, in order of kind and address.

    Each register and each of their scale factors is in exactly one request and wholly within it; no request exceeds
    ``max_registers`` or ``max_bits``, and none reads more than ``max_hole`` unused addresses in a row, or a
    ``forbidden`` one between two points.
    """
    factors = {register.factor for register in registers if register.factor is not None}
    parts: list[Part] = [*registers, *factors]
    requests = []
    for kind, members in groupby(sorted(parts, key=lambda p: (p.kind, p.address, p.end)), lambda p: p.kind):
        limit = device.max_bits if kind.is_bit else device.max_registers
        group: list[Part] = []
        end = 0
        for part in members:
            joined = max(end, part.end)
            if group and (
                part.address - end > device.max_hole
                or joined - group[0].address > limit
                or any(one.meets(kind, end, part.address) for one in device.forbidden)
            ):
                requests.append(Request.spanning(group))
                group, joined = [], part.end
            group.append(part)
            end = joined
        requests.append(Request.spanning(group))
    return requests


def reads(kind: Kind, address: int, count: int, most: int) -> Iterator[Request]:
    """Requests for ``count`` registers from ``address`` on, none for more than ``most``."""
    for start in range(address, address + count, most):
        yield Request(kind, start, min(most, address + count - start))
