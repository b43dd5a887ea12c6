"""Bounds that the library's decoder lacks.

Two kinds of values take no bytes however many there are: elements of an array without a type (Null), and texts whose
length is negative, which set the reader back. Of a few bytes a hostile server makes the library decode two thousand
million of them, while the memory fills and every other server waits. What is installed here refuses both; all else is
bounded by the bytes of its message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary
from asyncua.ua.uaerrors import UaError

_MOST_NOTHINGS = 10_000
_ABSENT = -1
_deserializer: Callable[[ua.VariantType], Callable[[Any], Any]] = ua_binary._create_uatype_array_deserializer


def install() -> None:
    """Bound what the library decodes from now on."""
    ua_binary._create_uatype_array_deserializer = _bounded  # type: ignore[assignment]
    ua_binary._Bytes.unpack = staticmethod(_bytes)  # type: ignore[method-assign, assignment]


def _bounded(kind: ua.VariantType) -> Callable[[Any], Any]:
    return _nothings if kind is ua.VariantType.Null else _deserializer(kind)


def _nothings(data: Buffer) -> list[None] | None:
    length = ua_binary.Primitives.Int32.unpack(data)
    if length > _MOST_NOTHINGS:
        raise UaError(f"an array of {length} elements without a type; at most {_MOST_NOTHINGS} are taken")
    return None if length == _ABSENT else [None] * length


def _bytes(data: Buffer) -> bytes | None:
    length = ua_binary.Primitives.Int32.unpack(data)
    if length < _ABSENT:
        raise UaError(f"a text of {length} bytes")
    return None if length == _ABSENT else data.read(length)
