"""One change in a device: the question that makes it, and the answer that confirms it. Pure.

Source: Modbus Application Protocol V1.1b3, sections 6.5, 6.6, 6.11, 6.12 and 6.16.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.modbus.messages import Unasked, raise_refusal
from connectors.modbus.plan import Request
from connectors.modbus.registers import Kind


class Function(enum.IntEnum):
    """The functions that write."""

    WRITE_SINGLE_COIL = 5
    WRITE_SINGLE_REGISTER = 6
    WRITE_MULTIPLE_COILS = 15
    WRITE_MULTIPLE_REGISTERS = 16
    MASK_WRITE_REGISTER = 22

    def __str__(self) -> str:
        return f"{self.value} ({self.name.lower().replace('_', ' ')})"


@dataclass(frozen=True, slots=True)
class Change:
    """The ``words`` (0 to 65535; one bool for a coil) that are to stand at ``address``.

    ``mask``: only these bits of the one word are changed, by the device itself, so that nobody else's change of the
    others is undone; None: all. ``multiple``: with the function for several even though it is one.
    """

    kind: Kind
    address: int
    words: tuple[int, ...]
    mask: int | None = None
    multiple: bool = False

    @property
    def function(self) -> Function:
        """The function that fits."""
        if self.mask is not None:
            return Function.MASK_WRITE_REGISTER
        if self.kind.is_bit:
            return Function.WRITE_MULTIPLE_COILS if self.multiple else Function.WRITE_SINGLE_COIL
        single = len(self.words) == 1 and not self.multiple
        return Function.WRITE_SINGLE_REGISTER if single else Function.WRITE_MULTIPLE_REGISTERS

    @property
    def request(self) -> Request:
        """What reads the same place."""
        return Request(self.kind, self.address, len(self.words))

    def question(self) -> bytes:
        """The PDU."""
        head = struct.pack(">BH", self.function, self.address)
        if self.mask is not None:
            return head + struct.pack(">HH", ~self.mask & 0xFFFF, self.words[0] & self.mask)
        match self.function:
            case Function.WRITE_SINGLE_COIL:
                return head + (b"\xff\x00" if self.words[0] else b"\x00\x00")
            case Function.WRITE_MULTIPLE_COILS:
                return head + struct.pack(">HBB", 1, 1, self.words[0])
            case Function.WRITE_SINGLE_REGISTER:
                return head + struct.pack(">H", self.words[0])
        return head + struct.pack(f">HB{len(self.words)}H", len(self.words), 2 * len(self.words), *self.words)

    def confirm(self, pdu: bytes) -> None:
        """Check that ``pdu`` says that it was done. Raises Refused, and Unasked."""
        raise_refusal(self.function, self, pdu)
        several = self.function in (Function.WRITE_MULTIPLE_COILS, Function.WRITE_MULTIPLE_REGISTERS)
        expected = self.question()[:5] if several else self.question()
        if pdu != expected:
            raise Unasked(f"{pdu[:20].hex(' ')} instead of the confirmation {expected.hex(' ')}")

    def holds(self, words: Sequence[int]) -> bool:
        """Whether ``words``, read from the same place, are what was to be written."""
        if self.mask is not None:
            return (words[0] ^ self.words[0]) & self.mask == 0
        return tuple(words) == self.words

    def __str__(self) -> str:
        return f"function {self.function} to {self.request}"
