"""Settings of the Modbus devices: how to reach each, how gently to ask, and what to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from connectors.fields import Host, Identified, Name, Port, Section, Tls, refuse_plaintext, seconds
from connectors.modbus.line import Framing, Serial
from connectors.modbus.registers import Address, Kind, Register, Writable

TLS_PORT = 802
"""Registered for Modbus/TCP Security."""


class SunSpec(Section):
    """A device that describes itself (SunSpec Device Information Model Specification): nothing more is needed.

    ``bases``: the holding registers at which its map may begin, in the order in which they are tried. ``points``: shell
    patterns of the points that are wanted, as in ``inverter*.W``. ``settings``: also what never changes (ratings)
    and what can be set. ``silence``: as of a register. ``writable``: by name, as of a register; no other point of the
    map can be written.
    """

    bases: Annotated[list[Address], Field(min_length=1)] = Field([40_000, 0, 50_000])
    points: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] = Field(["*"])
    settings: bool = False
    silence: Annotated[int, seconds(least=0.1)] = 30_000_000
    writable: dict[Name, Writable] = Field(default_factory=dict)


class Forbidden(Section):
    """Addresses ``first`` to ``last`` of a ``kind`` that no poll may read, not even on the way to others."""

    kind: Kind
    first: Address
    last: Address

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first {self.first} must not be above last {self.last}")
        return self

    def meets(self, kind: Kind, start: int, end: int) -> bool:
        """Whether one of the addresses from ``start`` to before ``end`` is forbidden."""
        return kind is self.kind and start <= self.last and end > self.first


def _section(value: Any) -> Any:
    """``sunspec = true`` is a section with its defaults."""
    if isinstance(value, bool):
        return {} if value else None
    return value


class ModbusDevice(Identified):
    """One device (or one unit behind a gateway) and its register map.

    ``max_registers`` and ``max_bits`` bound one request (the protocol allows 125 and 2000, many devices less).
    Neighbours are read together when no more than ``max_hole`` unused addresses lie between them, none of which is
    ``forbidden``. ``retries``: how
    often a request is repeated before the device counts as lost; ``backoff_ceiling``: the longest wait between
    attempts to reach it again. ``pause``: the least silence before a request. Serial units with the same address share
    one connection and are asked in turn; with ``shared`` those of framing tcp as well, for gateways that take few.
    ``tls`` needs framing tcp; its port is 802 unless given. ``sunspec``: the device tells its registers itself;
    ``registers`` come on top.
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
    forbidden: list[Forbidden] = Field(default_factory=list)
    backoff_ceiling: Annotated[int, seconds(least=0.5, most=3600)] = 30_000_000
    shared: bool = False
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

    @property
    def is_writable(self) -> bool:
        """Whether any of its points may be written."""
        return any(each.writable for each in self.registers) or bool(self.sunspec and self.sunspec.writable)

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
        if self.framing is not Framing.TCP and self.unit_id == 0 and self.is_writable:
            problems.append("unit_id: 0 on a serial line is every device there; nothing is written to all at once")
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
        problems += [
            f"registers[{i}].address: {register.kind} {register.address} lies in what is forbidden"
            for i, register in enumerate(self.registers)
            if any(one.meets(register.kind, register.address, register.end) for one in self.forbidden)
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
