"""The register map: where each point stands and how its bits become a number.

Addresses are the ones on the wire, from 0 (Modbus Application Protocol V1.1b3, section 4.4): what a data sheet calls
holding register 40001 is ``kind = "holding"``, ``address = 0``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from connectors.checks import Measured
from connectors.fields import Name, Number, Section, seconds

ADDRESSES = 65_536
"""Addresses 0 to 65535 in each of the four tables."""

Address = Annotated[int, Field(strict=True, ge=0, lt=ADDRESSES)]
"""An address on the wire."""


class Kind(enum.StrEnum):
    """The four tables of a device: single bits (coil, discrete) and 16-bit registers (holding, input)."""

    COIL = "coil"
    DISCRETE = "discrete"
    HOLDING = "holding"
    INPUT = "input"

    @property
    def is_bit(self) -> bool:
        """Whether one address holds one bit."""
        return self in (Kind.COIL, Kind.DISCRETE)


class Type(enum.StrEnum):
    """How the registers of one value are read. ``bool`` is one bit: of its own, or of a register.

    ``bcd``: binary-coded decimal, a digit in every four bits. ``string``: text that says a number, or one of the
    register's ``labels``.
    """

    BOOL = "bool"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    BCD64 = "bcd64"
    STRING = "string"

    @property
    def bits(self) -> int:
        """The size of the value; of a string that of one of its registers."""
        return {Type.BOOL: 1, Type.STRING: 16}.get(self) or int(self.value.lstrip("abcdefghijklmnopqrstuvwxyz"))

    @property
    def words(self) -> int:
        """Registers that one value takes."""
        return max(1, self.bits // 16)

    @property
    def is_float(self) -> bool:
        """IEEE 754."""
        return self.value.startswith("float")

    @property
    def is_decimal(self) -> bool:
        """Binary-coded decimal."""
        return self.value.startswith("bcd")

    @property
    def is_signed(self) -> bool:
        """Two's complement."""
        return self.value.startswith("int")


class Order(enum.StrEnum):
    """Which part comes first: ``big`` the most significant, ``little`` the least."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True, slots=True)
class ScaleFactor:
    """A register with the power of ten (int16) by which other registers' numbers are multiplied."""

    kind: Kind
    address: int

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + 1

    def __str__(self) -> str:
        return f"{self.kind} {self.address}"


_FIELDS = (Type.UINT8, Type.UINT16, Type.UINT32, Type.UINT64)
Pattern = Annotated[int, Field(strict=True, ge=0)]


def _several(value: Any) -> Any:
    """One pattern, or a list of them."""
    return value if isinstance(value, list | tuple) else (value,)


class Writable(Section):
    """A point that ``gridtape modbus write`` may write: ``minimum`` to ``maximum``, both allowed, in its ``unit``.

    ``multiple``: with the function for several registers or coils even for one, for devices that know no other.
    """

    minimum: Number
    maximum: Number
    multiple: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} must not be above maximum {self.maximum:g}")
        return self

    def allows(self, value: Decimal) -> bool:
        """Whether ``value`` lies within, compared exactly."""
        return Decimal(repr(self.minimum)) <= value <= Decimal(repr(self.maximum))

    def __str__(self) -> str:
        return f"{self.minimum:.15g} to {self.maximum:.15g}"


class Register(Measured):
    """One point of the device and where it stands.

    The value is ``raw x scale + offset`` in ``source_unit``, or else ``unit``; with ``scale_factor``, the address of an
    int16 register of the same kind, ``raw x scale x 10^factor + offset`` with the factor as read in the same poll.
    ``byte_order`` is the order of the two bytes in a register, ``word_order`` that of the registers in a value. ``bit``
    (0 the least significant) picks a bool out of a register, or with ``width`` a field of that many bits out of an
    unsigned integer; an 8-bit value is the register's low byte, or its high one
    with ``byte_order = "little"``. ``no_value`` is the raw pattern, as an unsigned number, with which the device says
    that it has none (0x8000, 0xFFFF), or several. A string takes ``length`` registers; ``labels`` are the numbers that
    its words stand for, as in ``{ RUN = 1, STOP = 0 }``. ``silence``: seconds without a value after which a gap is
    recorded. Without ``writable`` nothing is ever written.
    """

    point: Name
    kind: Kind
    address: Address
    type: Type
    length: Annotated[int, Field(strict=True, ge=1, le=125)] | None = None
    labels: dict[str, Number] = Field(default_factory=dict)
    bit: Annotated[int, Field(strict=True, ge=0, le=63)] | None = None
    width: Annotated[int, Field(strict=True, ge=1, le=63)] | None = None
    byte_order: Order = Order.BIG
    word_order: Order = Order.BIG
    scale: Number = 1.0
    offset: Number = 0.0
    scale_factor: Address | None = None
    no_value: Annotated[tuple[Pattern, ...], BeforeValidator(_several), Field(max_length=16)] = ()
    silence: Annotated[int, seconds(least=0.1)] = 30_000_000
    writable: Writable | None = None

    @property
    def size(self) -> int:
        """Addresses that the value takes: registers, or bits in a bit table."""
        return 1 if self.kind.is_bit else self.length or self.type.words

    @property
    def end(self) -> int:
        """The first address after the value."""
        return self.address + self.size

    @property
    def factor(self) -> ScaleFactor | None:
        """The register that holds its power of ten, if there is one."""
        return None if self.scale_factor is None else ScaleFactor(self.kind, self.scale_factor)

    @property
    def is_partial(self) -> bool:
        """Whether the value is only some of the bits of its registers."""
        return not self.kind.is_bit and (self.bit is not None or self.type.bits < 16)

    @cached_property
    def exact(self) -> tuple[Fraction, Fraction]:
        """Scale and offset as they were written: 0.1 is one tenth, not its nearest binary fraction."""
        return Fraction(repr(self.scale)), Fraction(repr(self.offset))

    @cached_property
    def is_plain(self) -> bool:
        """Whether the raw number is the value."""
        return (self.scale, self.offset) == (1.0, 0.0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = []
        if self.kind.is_bit and self.type is not Type.BOOL:
            problems.append(f'a {self.kind} is one bit: type must be "bool", not "{self.type}"')
        if self.type is Type.BOOL:
            if self.kind.is_bit and self.bit is not None:
                problems.append(f"bit picks a bit out of a register, but a {self.kind} is a bit already: leave bit out")
            if not self.kind.is_bit and self.bit is None:
                problems.append(f"a bool in a {self.kind} register needs bit: 0 (least significant) to 15")
            if (self.scale, self.offset, self.scale_factor) != (1.0, 0.0, None):
                problems.append("a bool is 0 or 1: leave scale, offset and scale_factor out")
        elif self.bit is not None and (self.width is None or self.type not in _FIELDS):
            problems.append(f'bit needs type = "bool", or width and an unsigned integer, not "{self.type}"')
        problems += self._misshapen()
        problems += self._unwritable()
        if self.scale == 0:
            problems.append("scale 0 would turn every value into the offset; expected another number")
        if self.end > ADDRESSES:
            problems.append(f"{self.type} at {self.address} needs {self.size} registers, but the last address is 65535")
        problems += [
            f"no_value {pattern:#x} does not fit into {self.type} ({self.type.bits} bits)"
            for pattern in self.no_value
            if pattern.bit_length() > self.type.bits
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _misshapen(self) -> Iterator[str]:
        """What does not fit together in a bit field or a string."""
        if self.type is Type.BOOL and self.bit is not None and self.bit > 15:
            yield f"bit {self.bit}: a register has bits 0 to 15"
        if self.width is not None and (self.bit is None or self.bit + self.width > self.type.bits):
            yield f"width {self.width} needs a bit to begin at, and an end within the {self.type.bits} bits it has"
        if (self.type is Type.STRING) is (self.length is None):
            yield 'length (in registers) belongs to type = "string", and only there'
        if self.labels and self.type is not Type.STRING:
            yield 'labels belong to type = "string"'
        if self.type is Type.STRING and (self.no_value or self.scale_factor is not None):
            yield "a string has neither no_value nor scale_factor"

    def _unwritable(self) -> Iterator[str]:
        """Why what is said to be writable cannot be."""
        if self.writable is None:
            return
        if self.kind not in (Kind.COIL, Kind.HOLDING):
            yield f"writable: a {self.kind} can only be read; coils and holding registers can be written"
        if self.type is Type.STRING:
            yield "writable: a string can only be read"
        if self.is_partial and self.size > 1:
            yield f"writable: bits of a value of {self.size} registers cannot be written alone; name the one register"
