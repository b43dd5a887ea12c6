"""From a model and its registers to points: where each stands, its type, its scale factor, its name. Pure.

SunSpec Device Information Model Specification, sections 4 (types and what means "not implemented") and 5 (groups).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from connectors.modbus.registers import Kind, Register, Type
from connectors.modbus.sunspec.models import Group, Model, Point
from connectors.modbus.sunspec.units import ucum

_NUMBERS: Mapping[str, tuple[Type, int | None]] = {
    "int16": (Type.INT16, 0x8000),
    "int32": (Type.INT32, 0x8000_0000),
    "int64": (Type.INT64, 0x8000_0000_0000_0000),
    "uint16": (Type.UINT16, 0xFFFF),
    "uint32": (Type.UINT32, 0xFFFF_FFFF),
    "uint64": (Type.UINT64, 0xFFFF_FFFF_FFFF_FFFF),
    "count": (Type.UINT16, 0xFFFF),
    "enum16": (Type.UINT16, 0xFFFF),
    "enum32": (Type.UINT32, 0xFFFF_FFFF),
    "bitfield16": (Type.UINT16, 0xFFFF),
    "bitfield32": (Type.UINT32, 0xFFFF_FFFF),
    "bitfield64": (Type.UINT64, 0xFFFF_FFFF_FFFF_FFFF),
    "acc16": (Type.UINT16, 0),
    "acc32": (Type.UINT32, 0),
    "acc64": (Type.UINT64, 0),
    "float32": (Type.FLOAT32, None),  # NaN, which is no value anyway
    "float64": (Type.FLOAT64, None),
}
"""What becomes a value, and the pattern by which the device says that it has none; texts and addresses do not."""
_NOT_A_COUNT = 0xFFFF
_HEADER = ("ID", "L")


class Place(NamedTuple):
    """A point of a model where it stands: its path of names, its address, and the address of its scale factor."""

    path: tuple[str, ...]
    point: Point
    address: int
    factor: int | None

    @property
    def end(self) -> int:
        """The first address after it."""
        return self.address + self.point.size


def places(model: Model, address: int, words: Sequence[int]) -> Iterator[Place]:
    """Every point of the model that stands at ``address``; ``words``: all its registers, number and length included.

    What would stand behind the model's end is left out: older devices know shorter models. Ends with the
    model's registers, however large the counts in them are.
    """
    yield from _Walk(address, words).group(model.group, address, (model.group.name,), ())[0]


class _Walk:
    def __init__(self, address: int, words: Sequence[int]) -> None:
        self._start = address
        self._end = address + len(words)
        self._words = words

    def group(
        self, group: Group, at: int, path: tuple[str, ...], around: tuple[Mapping[str, int], ...]
    ) -> tuple[list[Place], int]:
        """The points of one group that begins ``at``, and the address after it."""
        here: dict[str, int] = {}
        found = []
        scopes = (here, *around)
        cursor = at
        for point in group.points:
            here[point.name] = cursor
            cursor += point.size
        for point in group.points:
            place = Place((*path, point.name), point, here[point.name], self._factor(point, scopes))
            if place.end <= self._end:
                found.append(place)
        for inner in group.groups:
            most = self._count(inner, scopes)
            number = 0
            while cursor < self._end and (most is None or number < most):
                number += 1
                name = (inner.name,) if inner.count == 1 else (inner.name, str(number))
                more, after = self.group(inner, cursor, (*path, *name), scopes)
                if after == cursor or (most is None and after > self._end):
                    break  # empty, or no room for a whole one
                found += more
                cursor = after
        return found, cursor

    def _factor(self, point: Point, scopes: tuple[Mapping[str, int], ...]) -> int | None:
        if not isinstance(point.sf, str):
            return None
        return next((scope[point.sf] for scope in scopes if point.sf in scope), None)

    def _count(self, group: Group, scopes: tuple[Mapping[str, int], ...]) -> int | None:
        """How often the group stands there; None: as often as there is room."""
        if isinstance(group.count, int):
            return group.count or None
        at = next((scope[group.count] for scope in scopes if group.count in scope), None)
        if at is None or at >= self._end:
            return 0
        count = self._words[at - self._start]
        return 0 if count == _NOT_A_COUNT else count


def register(place: Place, prefix: str, silence: int) -> Register | None:
    """The point as a register of the map, named ``prefix`` and its path; None for what is no value of its own."""
    point = place.point
    if point.name in _HEADER or point.type not in _NUMBERS:
        return None
    type_, no_value = _NUMBERS[point.type]
    return Register.model_validate(
        {
            "point": ".".join((prefix, *place.path[1:])),
            "kind": Kind.HOLDING,
            "address": place.address,
            "type": type_,
            "unit": ucum(point.units),
            "no_value": () if no_value is None else no_value,
            "scale": float(f"1e{point.sf}") if isinstance(point.sf, int) else 1.0,
            "scale_factor": place.factor,
            "silence": silence / 1e6,
        }
    )
