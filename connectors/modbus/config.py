"""Settings of the Modbus devices: how to reach each, how gently to ask, and its register map.

Addresses are the ones on the wire, from 0 (Modbus Application Protocol V1.1b3, section 4.4): what a data sheet calls
holding register 40001 is ``kind = "holding"``, ``address = 0``.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from connectors.checks import Measured
from connectors.fields import Host, Identified, Name, Number, Port, Section, Tls, refuse_plaintext, seconds
from connectors.modbus.line import Framing, Serial

ADDRESSES = 65_536
"""Addresses 0 to 65535 in each of the four tables."""

TLS_PORT = 802
"""Registered for Modbus/TCP Security."""

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
    """How the registers of one value are read. ``bool`` is one bit: of its own, or of a register."""

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

    @property
    def bits(self) -> int:
        """The size of the value."""
        return 1 if self is Type.BOOL else int(self.value.lstrip("uintfloa"))

    @property
    def words(self) -> int:
        """Registers that one value takes."""
        return max(1, self.bits // 16)

    @property
    def is_float(self) -> bool:
        """IEEE 754."""
        return self.value.startswith("float")

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


class Register(Measured):
    """One point of the device and where it stands.

    The value is ``raw x scale + offset`` in ``source_unit``, or else ``unit``; with ``scale_factor``, the address of an
    int16 register of the same kind, ``raw x scale x 10^factor + offset`` with the factor as read in the same poll.
    ``byte_order`` is the order of the two bytes in a register, ``word_order`` that of the registers in a value. ``bit``
    (0 the least significant) picks a bool out of a register; an 8-bit value is the register's low byte, or its high one
    with ``byte_order = "little"``. ``no_value`` is the raw pattern, as an unsigned number, with which the device says
    that it has none (0x8000, 0xFFFF). ``silence``: seconds without a value after which a gap is recorded.
    """

    point: Name
    kind: Kind
    address: Address
    type: Type
    bit: Annotated[int, Field(strict=True, ge=0, le=15)] | None = None
    byte_order: Order = Order.BIG
    word_order: Order = Order.BIG
    scale: Number = 1.0
    offset: Number = 0.0
    scale_factor: Address | None = None
    no_value: Annotated[int, Field(strict=True, ge=0)] | None = None
    silence: Annotated[int, seconds(least=0.1)] = 30_000_000

    @property
    def size(self) -> int:
        """Addresses that the value takes: registers, or bits in a bit table."""
        return 1 if self.kind.is_bit else self.type.words

    @property
    def end(self) -> int:
        """The first address after the value."""
        return self.address + self.size

    @property
    def factor(self) -> ScaleFactor | None:
        """The register that holds its power of ten, if there is one."""
        return None if self.scale_factor is None else ScaleFactor(self.kind, self.scale_factor)

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
        elif self.bit is not None:
            problems.append(f'bit needs type = "bool", not "{self.type}"')
        if self.scale == 0:
            problems.append("scale 0 would turn every value into the offset; expected another number")
        if self.end > ADDRESSES:
            problems.append(f"{self.type} at {self.address} needs {self.size} registers, but the last address is 65535")
        if self.no_value is not None and self.no_value.bit_length() > self.type.bits:
            problems.append(f"no_value {self.no_value:#x} does not fit into {self.type} ({self.type.bits} bits)")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class SunSpec(Section):
    """A device that describes itself (SunSpec Device Information Model Specification): nothing more is needed.

    ``bases``: the holding registers at which its map may begin, in the order in which they are tried. ``points``: shell
    patterns of the points that are wanted, as in ``inverter*.W``. ``settings``: also what never changes (ratings)
    and what can be set. ``silence``: as of a register.
    """

    bases: Annotated[list[Address], Field(min_length=1)] = Field([40_000, 0, 50_000])
    points: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = Field(["*"])
    settings: bool = False
    silence: Annotated[int, seconds(least=0.1)] = 30_000_000


def _section(value: Any) -> Any:
    """``sunspec = true`` is a section with its defaults."""
    if isinstance(value, bool):
        return {} if value else None
    return value


class ModbusDevice(Identified):
    """One device (or one unit behind a gateway) and its register map.

    ``max_registers`` and ``max_bits`` bound one request (the protocol allows 125 and 2000, many devices less).
    Neighbours are read together when no more than ``max_hole`` unused addresses lie between them. ``retries``: how
    often a request is repeated before the device counts as lost; ``backoff_ceiling``: the longest wait between
    attempts to reach it again. ``pause``: the least silence before a request. Units with the same address share one
    connection and are asked in turn. ``tls`` needs framing tcp; its port is 802 unless given. ``sunspec``: the device
    tells its registers itself; ``registers`` come on top.
    """

    name: Name
    host: Host | None = None
    port: Port = 502
    serial: Serial | None = None
    tls: Tls | None = None
    unit_id: Annotated[int, Field(strict=True, ge=0, le=255)] = 1
    framing: Framing = Framing.TCP
    poll_interval: Annotated[int, seconds(least=0.05)] = 1_000_000
    timeout: Annotated[int, seconds(least=0.05, most=60)] = 1_000_000
    retries: Annotated[int, Field(strict=True, ge=0, le=10)] = 1
    max_registers: Annotated[int, Field(strict=True, ge=1, le=125)] = 125
    max_bits: Annotated[int, Field(strict=True, ge=1, le=2000)] = 2000
    max_hole: Annotated[int, Field(strict=True, ge=0, le=124)] = 8
    pause: Annotated[int, seconds(least=0, most=60)] = 0
    backoff_ceiling: Annotated[int, seconds(least=0.5, most=3600)] = 30_000_000
    allow_plaintext: bool = False
    sunspec: Annotated[SunSpec | None, BeforeValidator(_section)] = None
    registers: list[Register] = Field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it is reached, in a person's words."""
        return f"{self.host}:{self.port}" if self.serial is None else self.serial.port

    @property
    def gap(self) -> float:
        """Seconds of silence before a request: what is configured, and what an RTU line needs anyway."""
        least = self.serial.silence if self.serial is not None and self.framing is Framing.RTU else 0
        return max(self.pause, least) / 1e6

    @model_validator(mode="before")
    @classmethod
    def _port_of_tls(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("tls") is not None:
            return {"port": TLS_PORT, **data}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = list(self._unreachable())
        if self.framing is not Framing.TCP and self.unit_id > 247:
            problems.append(f"unit_id: {self.unit_id} is reserved on a serial line; expected 0 to 247")
        if not self.registers and self.sunspec is None:
            problems.append(
                "registers: there is none; describe at least one, or set sunspec = true if the device has it"
            )
        counts = Counter(register.point for register in self.registers)
        for point in (point for point, count in counts.items() if count > 1):
            places = " and ".join(f"registers[{i}]" for i, r in enumerate(self.registers) if r.point == point)
            problems.append(f'{places} have the same point "{point}"; each point of a device needs its own name')
        problems += [
            f"registers[{i}].type: {register.type} needs {register.size} registers in one request, "
            f"but max_registers is {self.max_registers}"
            for i, register in enumerate(self.registers)
            if not register.kind.is_bit and register.size > self.max_registers
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unreachable(self) -> Iterator[str]:
        """What does not fit together in how it is reached."""
        if self.framing.is_serial:
            if self.serial is None:
                yield f'serial: framing "{self.framing}" needs it, for example serial = {{ port = "/dev/ttyUSB0" }}'
            if self.host is not None or self.tls is not None:
                yield f'host and tls: framing "{self.framing}" is a serial line of this machine; use "-over-tcp" frames'
            return
        if self.serial is not None:
            yield f'serial: framing "{self.framing}" travels over the network; use "rtu" or "ascii"'
        if self.tls is not None and self.framing is not Framing.TCP:
            yield f'tls: only framing "tcp" is spoken within TLS, not "{self.framing}"'
        if self.host is None:
            yield "host: is missing and has no default"
            return
        try:
            refuse_plaintext(self.host, encrypted=self.tls is not None, allow_plaintext=self.allow_plaintext)
        except ValueError as error:
            yield f"host: {error}"
