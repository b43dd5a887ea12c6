"""Reads binary MQTT payloads: CBOR, Protobuf by a descriptor set of the user's, raw numbers. Pure once it is built."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import cbor2
from google.protobuf.message import DecodeError

from connectors.mqtt.config import JsonPaths, Protobuf, Raw
from connectors.mqtt.descriptors import message_class
from connectors.mqtt.payload import Refused, Sample, bounded, checked, read_sample

_CODES = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


def read_cbor(raw: bytes) -> Any:
    """The one CBOR document (RFC 8949) that ``raw`` is. Raises :class:`Refused`."""
    bounded(raw)
    stream = io.BytesIO(raw)
    try:
        found = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, ArithmeticError, RecursionError) as error:
        raise Refused(f"not valid CBOR: {error}; begins with {raw[:40].hex(' ')}") from None
    if end := len(raw) - stream.tell():
        # cbor2.loads would drop it without a word: a sequence of samples (RFC 8742) would lose all but its first.
        raise Refused(f"{end} bytes follow the CBOR document; a payload has one, with a list in it for several samples")
    return found


def raw_reader(raw: Raw) -> Callable[[bytes], Sample]:
    """A reader of the number that ``raw`` describes."""
    layout = struct.Struct(("<" if raw.byte_order == "little" else ">") + _CODES[raw.type])

    def read(payload: bytes) -> Sample:
        bounded(payload)
        if len(payload) < raw.offset + layout.size:
            wanted = f"a {raw.type} at byte {raw.offset} needs {raw.offset + layout.size}"
            raise Refused(f"{len(payload)} bytes; {wanted}")
        (found,) = layout.unpack_from(payload, raw.offset)
        return read_sample({"value": found}, JsonPaths()) if isinstance(found, int) else Sample(checked(found))

    return read


def protobuf_reader(protobuf: Protobuf) -> Callable[[bytes], dict[str, Any]]:
    """A reader of messages of one type as documents. Raises ValueError when the file does not hold the type."""
    kind = message_class(protobuf.descriptor_file, protobuf.message)

    def read(payload: bytes) -> dict[str, Any]:
        bounded(payload)
        message = kind()
        try:
            message.ParseFromString(payload)
        except DecodeError as error:
            raise Refused(f"no {protobuf.message}: {error}") from None
        return _plain(message)

    return read


def _plain(message: Any) -> dict[str, Any]:
    """Fields by name; what may be absent and is absent is left out, everything else has its default."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        is_message = field.message_type is not None
        if is_message and field.message_type.GetOptions().map_entry:
            found[field.name] = {str(key): _item(item) for key, item in value.items()}
        elif field.is_repeated:
            found[field.name] = [_item(item) for item in value]
        else:
            found[field.name] = _item(value)
    return found


def _item(value: Any) -> Any:
    return _plain(value) if hasattr(value, "DESCRIPTOR") else value
