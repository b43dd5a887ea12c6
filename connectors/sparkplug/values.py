"""From a metric's value to a number, or to the reason why it is none (Sparkplug 3.0.0, section 6.4.16). Pure."""

from __future__ import annotations

import math
import struct
from typing import Any

from connectors.sparkplug.payload import DataType

_INTEGERS = {
    DataType.Int8: (8, True),
    DataType.Int16: (16, True),
    DataType.Int32: (32, True),
    DataType.Int64: (64, True),
    DataType.UInt8: (8, False),
    DataType.UInt16: (16, False),
    DataType.UInt32: (32, False),
    DataType.UInt64: (64, False),
    DataType.DateTime: (64, False),
}
_ARRAYS = {
    DataType.Int8Array: DataType.Int8,
    DataType.Int16Array: DataType.Int16,
    DataType.Int32Array: DataType.Int32,
    DataType.Int64Array: DataType.Int64,
    DataType.UInt8Array: DataType.UInt8,
    DataType.UInt16Array: DataType.UInt16,
    DataType.UInt32Array: DataType.UInt32,
    DataType.UInt64Array: DataType.UInt64,
    DataType.DateTimeArray: DataType.DateTime,
    DataType.FloatArray: DataType.Float,
    DataType.DoubleArray: DataType.Double,
}
_LIMIT = 1e18
Select = tuple[int | str, ...]
"""The way to a number within a metric: an array's place; a data set's row and column; a template's member."""


class NoNumber(ValueError):
    """The metric holds no number where one is looked for; the message says what it holds."""


def number(raw: Any, datatype: int, select: Select, members: dict[str, int]) -> tuple[float, str]:
    """The value of a metric, and a doubt about it (empty when there is none).

    ``raw``: the protobuf metric; ``datatype``: as its birth says; ``members``: datatypes of a template's members, for
    instances that do not repeat them. Integers are read from either integer field, signed ones as two's complement.
    A DateTime is its milliseconds since 1970. Raises :class:`NoNumber`.
    """
    if datatype == DataType.Template:
        return _member(raw, select, members)
    if datatype == DataType.DataSet:
        found, datatype = _cell(raw.dataset_value, select)
        return _scalar(found, datatype)
    if datatype == DataType.BooleanArray:
        return _bit(raw.bytes_value, _place(select)), ""
    if datatype in _ARRAYS:
        return _element(raw.bytes_value, _ARRAYS[DataType(datatype)], _place(select))
    if select:
        raise NoNumber(f"a {_named(datatype)} has no parts, but the point selects {list(select)}")
    return _scalar(raw, datatype)


def members_of(raw: Any) -> dict[str, int]:
    """Datatypes of the members of a template's instance or definition, by name."""
    return {member.name: member.datatype for member in raw.template_value.metrics if member.datatype}


def _scalar(raw: Any, datatype: int) -> tuple[float, str]:
    field = raw.WhichOneof("value")
    if datatype in _INTEGERS:
        if field not in ("int_value", "long_value"):
            raise NoNumber(f"a {_named(datatype)} without an integer value")
        bits, signed = _INTEGERS[DataType(datatype)]
        return _integer(getattr(raw, field), 32 if field == "int_value" else 64, bits, signed, datatype)
    if datatype in (DataType.Float, DataType.Double):
        if field not in ("float_value", "double_value"):
            raise NoNumber(f"a {_named(datatype)} without a floating-point value")
        return _finite(getattr(raw, field)), ""
    if datatype == DataType.Boolean:
        if field != "boolean_value":
            raise NoNumber("a Boolean without a boolean value")
        return float(raw.boolean_value), ""
    raise NoNumber(f"a {_named(datatype)} is no number")


def _integer(found: int, width: int, bits: int, signed: bool, datatype: int) -> tuple[float, str]:
    if signed:
        if found >> (width - 1):
            found -= 1 << width  # sign-extended to the width of the field
        elif found >> (bits - 1) == 1:
            found -= 1 << bits  # two's complement in its own width
    least, most = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not least <= found <= most:
        raise NoNumber(f"{found} does not fit into a {_named(datatype)}")
    rounded = _finite(found)
    return rounded, "" if rounded == found else f"{found} is rounded to {rounded:.0f}"


def _finite(found: float) -> float:
    if not math.isfinite(found) or not -_LIMIT <= found <= _LIMIT:
        raise NoNumber(f"the value is {found}; expected a finite number within ±1e18")
    return float(found)


def _place(select: Select) -> int:
    if len(select) != 1 or not isinstance(select[0], int):
        raise NoNumber("an array needs select = [place], counted from 0")
    return select[0]


def _element(raw: bytes, datatype: DataType, place: int) -> tuple[float, str]:
    """Elements are packed little-endian in their own width (section 6.4.16, arrays)."""
    if datatype in (DataType.Float, DataType.Double):
        layout = "<f" if datatype is DataType.Float else "<d"
    else:
        bits, signed = _INTEGERS[datatype]
        code = {8: "b", 16: "h", 32: "i", 64: "q"}[bits]
        layout = f"<{code if signed else code.upper()}"
    size = struct.calcsize(layout)
    if len(raw) % size:
        raise NoNumber(f"an array of {len(raw)} bytes, which is no whole number of {_named(datatype)} elements")
    if place * size >= len(raw):
        raise NoNumber(f"the array has {len(raw) // size} elements; select asks for [{place}]")
    (found,) = struct.unpack_from(layout, raw, place * size)
    rounded = _finite(found)
    return rounded, "" if rounded == found else f"{found} is rounded to {rounded:.0f}"


def _bit(raw: bytes, place: int) -> float:
    """Booleans: their count in four bytes little-endian, then eight to a byte, the first in the highest bit."""
    count = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or len(raw) - 4 != (count + 7) // 8:
        raise NoNumber(f"a BooleanArray of {len(raw)} bytes that says it has {count} elements")
    if place >= count:
        raise NoNumber(f"the array has {count} elements; select asks for [{place}]")
    return float(raw[4 + place // 8] >> (7 - place % 8) & 1)


def _cell(data: Any, select: Select) -> tuple[Any, int]:
    if len(select) != 2 or not isinstance(select[0], int) or not isinstance(select[1], str):
        raise NoNumber('a DataSet needs select = [row, "column"]')
    row, column = int(select[0]), select[1]
    columns = list(data.columns)
    if column not in columns or len(data.types) != len(columns):
        raise NoNumber(f"the DataSet has no column {column!r}; it has {', '.join(map(str, columns))[:200]}")
    where = columns.index(column)
    if row >= len(data.rows) or where >= len(data.rows[row].elements):
        raise NoNumber(f"the DataSet has {len(data.rows)} rows; select asks for [{row}]")
    return data.rows[row].elements[where], data.types[where]


def _member(raw: Any, select: Select, members: dict[str, int]) -> tuple[float, str]:
    if not select or not isinstance(select[0], str):
        raise NoNumber('a Template needs select = ["member"]')
    name, rest = select[0], select[1:]
    for member in raw.template_value.metrics:
        if member.name == name:
            if member.is_null:
                raise NoNumber(f"the member {name!r} is null")
            return number(member, member.datatype or members.get(name, 0), rest, {})
    raise NoNumber(f"the Template has no member {name!r}")


def _named(datatype: int) -> str:
    try:
        return DataType(datatype).name
    except ValueError:
        return f"metric of the unknown datatype {datatype}"
