"""Bounds that the library's decoder lacks.

Three kinds of values take no bytes however many there are: elements of an array without a type (Null), structures
without a field, and texts whose length is negative, which set the reader back. Of a few bytes a hostile server makes
the library decode two thousand million of them, while the memory fills and every other server waits. What is installed
here refuses them; all else is bounded by the bytes of its message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary
from asyncua.ua.uaerrors import UaError

_MOST_NOTHINGS = 10_000
_ABSENT = -1
_LENGTH_BYTES = 4
_array_decoder: Callable[[ua.VariantType], Callable[[Any], Any]] = ua_binary._create_uatype_array_deserializer
_list_decoder: Callable[[Any], Callable[[Any], list[Any]]] = ua_binary._create_list_deserializer


def install() -> None:
    """Bound what the library decodes from now on. Call it before anything is decoded: decoders are kept."""
    ua_binary._create_uatype_array_deserializer = _array  # type: ignore[assignment]
    ua_binary._create_list_deserializer = _list  # type: ignore[assignment]
    ua_binary._Bytes.unpack = staticmethod(_bytes)  # type: ignore[method-assign, assignment]


def _array(kind: ua.VariantType) -> Callable[[Any], Any]:
    return _nothings if kind is ua.VariantType.Null else _array_decoder(kind)


@cache
def _list(kind: Any) -> Callable[[Buffer], list[Any]]:
    decode = _list_decoder(kind)

    def bounded(data: Buffer) -> list[Any]:
        length = _int32(data.copy(_LENGTH_BYTES))
        if length > max(_MOST_NOTHINGS, len(data)):
            raise UaError(f"a list of {length} elements within {len(data)} bytes")
        return decode(data)

    return bounded


def _nothings(data: Buffer) -> list[None] | None:
    length = _int32(data)
    if length > _MOST_NOTHINGS:
        raise UaError(f"an array of {length} elements without a type; at most {_MOST_NOTHINGS} are taken")
    return None if length == _ABSENT else [None] * length


def _bytes(data: Buffer) -> bytes | None:
    length = _int32(data)
    if length < _ABSENT:
        raise UaError(f"a text of {length} bytes")
    return None if length == _ABSENT else data.read(length)


def _int32(data: Buffer) -> int:
    return int(ua_binary.Primitives.Int32.unpack(data))
