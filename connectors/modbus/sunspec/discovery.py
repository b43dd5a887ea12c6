"""Finds a device's SunSpec map and what is in it: base address, chain of models, points.

SunSpec Device Information Model Specification, section 6: "SunS" stands at one of three addresses, behind it model
after model, each with its number and length, until one with number 0xFFFF.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import structlog

from connectors.modbus.config import ModbusDevice, SunSpec
from connectors.modbus.connection import Lost
from connectors.modbus.decoder import text
from connectors.modbus.messages import Refused
from connectors.modbus.plan import Request, reads
from connectors.modbus.registers import ADDRESSES, Kind, Register
from connectors.modbus.sunspec import layout
from connectors.modbus.sunspec.models import model
from connectors.modbus.transport import Link

log = structlog.get_logger(__name__)
_MARK = [0x5375, 0x6E53]  # "SunS"
_END = 0xFFFF
_COMMON = 1
_MOST_MODELS = 250
_MOST_POINTS = 10_000


class NotSunSpec(Lost):
    """What answers there has no SunSpec map, or a broken one."""


@dataclass(frozen=True)
class Found:
    """What a device says of itself. ``optional``: points that it may leave without a value for ever."""

    registers: tuple[Register, ...]
    optional: frozenset[str]
    nameplate: str


@dataclass(frozen=True)
class _Block:
    """A model of the chain: all its registers, number and length first."""

    number: int
    address: int
    words: Sequence[int]


async def discover(link: Link, device: ModbusDevice, how: SunSpec) -> tuple[Found, int]:
    """Read the whole map once; also tells on which connection it was begun.

    A model that nobody has published is left out. Raises Lost (NotSunSpec among them).
    """
    base = await _base(link, device, how)
    connection = link.connections
    blocks = await _chain(link, device, base)
    found: dict[str, Register] = {}
    optional = set()
    nameplate = ""
    seen: Counter[str] = Counter()
    unknown = []
    for block in blocks:
        known = model(block.number)
        if known is None:
            unknown.append(block.number)
            continue
        name = known.group.name
        seen[name] += 1
        prefix = name if seen[name] == 1 else f"{name}@{seen[name]}"
        for place in layout.places(known, block.address, block.words):
            if block.number == _COMMON and place.point.name in ("Mn", "Md", "SN"):
                words = block.words[place.address - block.address : place.end - block.address]
                nameplate = f"{nameplate} {text(words)}".strip()
            one = layout.register(place, prefix, how.silence)
            if one is None or (place.point.is_setting and not how.settings):
                continue
            if any(fnmatchcase(one.point, pattern) for pattern in how.points) and len(found) < _MOST_POINTS:
                found[one.point] = one
                optional |= {one.point} if place.point.mandatory == "O" else set()
    log.info(
        "SunSpec map read",
        device=device.name,
        nameplate=nameplate,
        base=base,
        models=[block.number for block in blocks],
        unknown_models=unknown,
        points=len(found),
    )
    if not found and not device.registers:
        raise NotSunSpec(
            f"{device.name} has a SunSpec map at {base} with models {[block.number for block in blocks]}, but no "
            f"point in it is wanted: sunspec.points is {how.points}, sunspec.settings {str(how.settings).lower()}"
        )
    return Found(tuple(found.values()), frozenset(optional), nameplate[:200]), connection


async def _base(link: Link, device: ModbusDevice, how: SunSpec) -> int:
    said = []
    for base in how.bases:
        try:
            words = await link.read(Request(Kind.HOLDING, base, 2))
        except Refused as refusal:
            said.append(f"{base}: {refusal}")
            continue
        if words == _MARK:
            return base
        said.append(f"{base}: {' '.join(f'{word:04x}' for word in words)}")
    raise NotSunSpec(
        f'{device.name} has no SunSpec map: "SunS" (5375 6e53) stands at none of its places ({"; ".join(said)}); '
        "is SunSpec switched on in the device, is unit_id right, does its data sheet name another base (sunspec.bases)?"
    )


async def _chain(link: Link, device: ModbusDevice, base: int) -> list[_Block]:
    blocks: list[_Block] = []
    at = base + len(_MARK)
    while len(blocks) < _MOST_MODELS and at + 2 <= ADDRESSES:
        try:
            number, length = (int(word) for word in await link.read(Request(Kind.HOLDING, at, 2)))
        except Refused:
            if blocks:
                log.warning(
                    "the SunSpec map has no end mark; it ends where reading is refused", device=device.name, at=at
                )
                return blocks
            raise NotSunSpec(
                f"{device.name} refuses to read holding {at}, where its first SunSpec model stands"
            ) from None
        if number == _END:
            return blocks
        if at + 2 + length > ADDRESSES:
            raise NotSunSpec(
                f"{device.name}: SunSpec model {number} at {at} is said to have {length} registers, "
                "more than there are: its map is broken"
            )
        words: list[int] = [number, length]
        if model(number) is not None:
            words += await _all(link, device, at + 2, length)
        blocks.append(_Block(number, at, words))
        at += 2 + length
    raise NotSunSpec(f"{device.name}: its SunSpec map does not end after {len(blocks)} models: it is broken")


async def _all(link: Link, device: ModbusDevice, address: int, count: int) -> list[int]:
    words: list[int] = []
    try:
        for request in reads(Kind.HOLDING, address, count, device.max_registers):
            words += [int(word) for word in await link.read(request)]
    except Refused as refusal:
        raise NotSunSpec(f"{device.name}: its SunSpec map cannot be read whole: {refusal}") from refusal
    return words
