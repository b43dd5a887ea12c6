"""Parquet columns of a record type: exact where the record is exact, typed where analysts need it."""

from __future__ import annotations

import enum
import types
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pyarrow as pa

from schemas.base import Record

KAFKA: tuple[tuple[str, pa.DataType], ...] = (
    ("kafka_partition", pa.int32()),
    ("kafka_offset", pa.int64()),
    ("kafka_time", pa.timestamp("us", tz="UTC")),
    ("kafka_key", pa.string()),
)
"""Columns that every file begins with: the coordinates, Kafka's own timestamp and the message key."""

_SCALARS: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    # As text: an average price has up to 28 significant digits at any scale, more than decimal128 can promise.
    Decimal: pa.string(),
}


@cache
def schema_of(record: type[Record]) -> pa.Schema:
    """Arrow schema of ``record`` behind the KAFKA columns.

    Fields named ``..._time`` are UTC timestamps in microseconds; decimals are text; nested records are structs and
    lists; a field that holds a choice between record types, or a record that is a JSON array, is JSON text.
    """
    hints = get_type_hints(record, include_extras=False)
    fields = [pa.field(name, type_, nullable=False) for name, type_ in KAFKA]
    fields += [pa.field(name, _column(name, hints[name])) for name in record.__struct_fields__]
    return pa.schema(fields)


def row_of(record: Record, schema: pa.Schema) -> dict[str, Any]:
    """The record's own columns as Python values for ``schema``."""
    row: dict[str, Any] = msgspec.to_builtins(record, builtin_types=(bytes,))
    for name in _json_columns(type(record)):
        row[name] = msgspec.json.encode(getattr(record, name)).decode()
    return row


@cache
def _json_columns(record: type[Record]) -> tuple[str, ...]:
    hints = get_type_hints(record, include_extras=False)
    return tuple(name for name in record.__struct_fields__ if _nested(hints[name]) is None)


def _column(name: str, hint: Any) -> pa.DataType:
    if name.endswith("_time") and int in _members(hint):
        return pa.timestamp("us", tz="UTC")
    found = _nested(hint)
    return pa.string() if found is None else found


def _nested(hint: Any) -> pa.DataType | None:
    """The Arrow type of a type hint, or None where only JSON text can hold it."""
    members = _members(hint)
    if len(members) != 1:
        return None
    one = members[0]
    if one in _SCALARS:
        return _SCALARS[one]
    if get_origin(one) is list:
        item = _nested(get_args(one)[0])
        return None if item is None else pa.list_(item)
    if isinstance(one, type) and issubclass(one, enum.StrEnum):
        return pa.string()
    if isinstance(one, type) and issubclass(one, msgspec.Struct) and not one.__struct_config__.array_like:
        hints = get_type_hints(one)
        fields = {name: _nested(hints[name]) for name in one.__struct_fields__}
        return None if None in fields.values() else pa.struct([pa.field(n, t) for n, t in fields.items()])
    return None


def _members(hint: Any) -> list[Any]:
    """The types of a union without None; of anything else itself."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return [part for member in get_args(hint) if member is not type(None) for part in _members(member)]
    return [hint]
