"""Bounds that the library's decoder lacks.

Of a few bytes a hostile server makes it build two thousand million elements (those of an array without a type and of
structures without a field take none), pads an array to the million that its dimensions promise, and copies a list of
dimensions once for each of them. What is installed here counts what is built of one message; lengths that are negative,
which set the reader back, are refused.
"""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from asyncua import ua
from asyncua.client import ua_client, ua_session
from asyncua.common import connection
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary
from asyncua.ua.uaerrors import UaError

MOST_ELEMENTS = 200_000
"""Of lists and arrays, all of one message together; of numbers ``_NUMBERS`` are one."""
_NUMBERS = 16
_MOST_DIMENSIONS = 32
_ABSENT = -1
_LENGTH_BYTES = 4
_REASON = 500  # characters of what the library says
MALFORMED = (
    UaError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    struct.error,
)
"""What the library raises when it decodes what is no message."""
_Result = TypeVar("_Result")
_library: Callable[[Any, Any], Any] = ua_binary.struct_from_binary
_array_decoder: Callable[[ua.VariantType], Callable[[Any], Any]] = ua_binary._create_uatype_array_deserializer
_list_decoder: Callable[[Any], Callable[[Any], list[Any]]] = ua_binary._create_list_deserializer
_reshape: Callable[[list[Any], list[int]], list[Any]] = ua_binary._reshape


class CutOff(UaError):
    """The server sent what is not taken; says what it was."""


class _Room(threading.local):
    """For how many elements there is room in the message that this thread decodes."""

    left = MOST_ELEMENTS

    def take(self, length: int, together: int = 1) -> None:
        """Use up the room of a list; ``together``: so many of its elements are as small as one."""
        count = length // together
        if count > self.left:
            raise CutOff(f"it sent a list of {length} elements; at most {MOST_ELEMENTS} are taken in one message")
        self.left -= max(0, count)


_room = _Room()


def install() -> None:
    """Bound what the library decodes from now on. Call it before anything is decoded: decoders are kept."""
    ua_binary._create_uatype_array_deserializer = _array
    ua_binary._create_list_deserializer = _list
    ua_binary._Bytes.unpack = staticmethod(_bytes)  # type: ignore[method-assign, assignment]
    ua_binary._reshape = _shaped  # type: ignore[assignment]
    for module in (ua_client, ua_session, connection):
        module.struct_from_binary = struct_from_binary  # type: ignore[attr-defined]


def struct_from_binary(kind: Any, data: Any) -> Any:
    """A whole message, or its head, as the library's record of that ``kind``. Raises CutOff."""
    _room.left = MOST_ELEMENTS
    try:
        return _library(kind, data)
    except CutOff:
        raise
    except MALFORMED as error:
        raise unreadable(error, f" as {getattr(kind, '__name__', kind)}") from error


def unreadable(error: BaseException, kind: str = "") -> CutOff:
    """What the library found wrong, in few words."""
    return CutOff(f"it sent what cannot be read{kind}: {str(error)[:_REASON] or type(error).__name__}")


def each(results: Sequence[_Result] | None, asked: int) -> Sequence[_Result]:
    """The ``results`` of a service, one for each that was asked for. Raises CutOff when they are more or less."""
    if len(results or ()) != asked:
        raise CutOff(f"it gave {len(results or ())} results to {asked} questions")
    return results or ()


@cache
def _array(kind: ua.VariantType) -> Callable[[Any], Any]:
    return _counted(_array_decoder(kind), _NUMBERS if hasattr(ua_binary.Primitives1, kind.name) else 1)


@cache
def _list(kind: Any) -> Callable[[Any], Any]:
    return _counted(_list_decoder(kind), 1)


def _counted(decode: Callable[[Any], Any], together: int) -> Callable[[Any], Any]:
    def counted(data: Buffer) -> Any:
        _room.take(_int32(data.copy(_LENGTH_BYTES)), together)
        return decode(data)

    return counted


def _shaped(flat: list[Any], dimensions: list[int]) -> list[Any]:
    if len(dimensions) > _MOST_DIMENSIONS:
        raise CutOff(f"it sent an array of {len(dimensions)} dimensions; at most {_MOST_DIMENSIONS} are taken")
    _room.take(math.prod(size or 1 for size in dimensions) - len(flat))
    return _reshape(flat, dimensions)


def _bytes(data: Buffer) -> bytes | None:
    length = _int32(data)
    if length < _ABSENT:
        raise UaError(f"a text of {length} bytes")
    return None if length == _ABSENT else data.read(length)


def _int32(data: Buffer) -> int:
    return int(ua_binary.Primitives.Int32.unpack(data))
