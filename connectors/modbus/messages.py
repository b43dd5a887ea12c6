"""Questions and answers within a frame (Modbus Application Protocol V1.1b3, sections 6 and 7). Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pymodbus.constants import ExcCodes

from connectors.modbus.plan import Request
from connectors.modbus.registers import Kind

_READ = {Kind.COIL: 1, Kind.DISCRETE: 2, Kind.HOLDING: 3, Kind.INPUT: 4}


class Refused(Exception):
    """The device answered that it will not: ``code`` is the Modbus exception code."""

    def __init__(self, what: object, code: int) -> None:
        name = next((known.name for known in ExcCodes if known == code), "UNKNOWN").replace("_", " ").lower()
        super().__init__(f"the device refused {what}: {name} (exception code {code})")
        self.code = code

    @property
    def may_be_one_register(self) -> bool:
        """Illegal address or illegal value: perhaps one register of several, so that the others can still be read."""
        return self.code in (2, 3)

    @property
    def is_in_progress(self) -> bool:
        """It has accepted and is not done yet (Acknowledge)."""
        return self.code == 5

    @property
    def is_busy(self) -> bool:
        """It works on something and can be asked again."""
        return self.code in (5, 6)

    @property
    def is_of_gateway(self) -> bool:
        """It comes from a gateway that does not reach the device."""
        return self.code in (10, 11)


class Unasked(ValueError):
    """An answer to another question; says why."""


def question(request: Request) -> bytes:
    """The PDU that asks for what ``request`` names."""
    return struct.pack(">BHH", _READ[request.kind], request.address, request.count)


def answer(request: Request, pdu: bytes) -> list[int] | list[bool]:
    """The registers (0 to 65535) or bits that ``request`` asked for. Raises Refused, and Unasked."""
    function = _READ[request.kind]
    raise_refusal(function, request, pdu)
    size = -(-request.count // 8) if request.kind.is_bit else 2 * request.count
    if pdu[0] != function or len(pdu) != 2 + size or pdu[1] != size:
        raise Unasked(f"function {pdu[0]} with {len(pdu) - 2} bytes of data; expected function {function} with {size}")
    if request.kind.is_bit:
        return [bool(pdu[2 + n // 8] >> n % 8 & 1) for n in range(request.count)]
    return list(struct.unpack(f">{request.count}H", pdu[2:]))


def raise_refusal(function: int, what: object, pdu: bytes) -> None:
    """Raise Refused if ``pdu`` refuses ``what`` was asked with ``function``, Unasked if it refuses something else."""
    if len(pdu) == 2 and pdu[0] & 0x80:
        if pdu[0] != function | 0x80:
            raise Unasked(f"a refusal of function {pdu[0] & 0x7F}; function {function} was asked")
        raise Refused(what, pdu[1])


def wire(words: Sequence[int]) -> bytes:
    """As on the wire: two bytes per register; a bit of a bit table as one byte."""
    return b"".join(bytes([word]) if isinstance(word, bool) else word.to_bytes(2, "big") for word in words)
