"""Reads and writes Sparkplug B payloads within bounds. What is malformed or too large is refused with a reason. Pure.

Before anything is built its size and its number of parts are bounded, so that a small payload cannot fill the memory:
an empty metric takes two bytes on the wire and a hundred in memory, and a compressed body may unpack a thousandfold.
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from connectors.sparkplug import wire

COMPRESSED = "SPBV1.0_COMPRESSED"
REBIRTH = "Node Control/Rebirth"
BDSEQ = "bdSeq"
_SMALL = 16_384
"""Bytes below which the parts need not be counted first."""
_OTHER_PARTS = 1_000
_UNREADABLE = -1


class DataType(enum.IntEnum):
    """Spelt as in Sparkplug 3.0.0, section 6.4.16."""

    Unknown = 0
    Int8 = 1
    Int16 = 2
    Int32 = 3
    Int64 = 4
    UInt8 = 5
    UInt16 = 6
    UInt32 = 7
    UInt64 = 8
    Float = 9
    Double = 10
    Boolean = 11
    String = 12
    DateTime = 13
    Text = 14
    UUID = 15
    DataSet = 16
    Bytes = 17
    File = 18
    Template = 19
    PropertySet = 20
    PropertySetList = 21
    Int8Array = 22
    Int16Array = 23
    Int32Array = 24
    Int64Array = 25
    UInt8Array = 26
    UInt16Array = 27
    UInt32Array = 28
    UInt64Array = 29
    FloatArray = 30
    DoubleArray = 31
    BooleanArray = 32
    StringArray = 33
    DateTimeArray = 34


class Refused(ValueError):
    """The payload cannot be read, or is larger than what is allowed; the message says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``bytes``: of a payload, compressed or not. ``metrics``: in one payload."""

    bytes: int = 1_048_576
    metrics: int = 20_000


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it came. ``timestamp``: milliseconds. ``datatype`` 0: not given. ``raw``: holds the value.

    ``quality``: the property of that name (0 bad, 192 good, 500 stale); -1 when the properties cannot be read.
    """

    name: str | None
    alias: int | None
    timestamp: int | None
    datatype: int
    is_historical: bool
    is_null: bool
    quality: int | None
    unit: str | None
    raw: Any


@dataclass(frozen=True, slots=True)
class Payload:
    """``timestamp``: milliseconds, when it was sent. ``seq``: 0 to 255; None where there is none."""

    timestamp: int | None
    seq: int | None
    metrics: tuple[Metric, ...]


def decode(raw: bytes, limits: Limits, *, is_retained: bool = False) -> Payload:
    """Read a payload, a compressed one included. Raises :class:`Refused`."""
    if is_retained:
        raise Refused("retained: births and data must not be, since nobody knows whether they still hold")
    message = _parse(raw, limits)
    seq = message.seq if message.HasField("seq") else None
    if message.uuid == COMPRESSED:
        message = _parse(_decompress(message, limits), limits)
        if message.uuid == COMPRESSED:
            raise Refused("a compressed payload within a compressed one")
        seq = message.seq if message.HasField("seq") else seq
    metrics = tuple(map(_metric, message.metrics))
    if seq is not None and seq > 255:
        raise Refused(f"the sequence number is {seq}; expected 0 to 255")
    return Payload(message.timestamp if message.HasField("timestamp") else None, seq, metrics)


def rebirth_request(timestamp: int) -> bytes:
    """The payload of an NCMD that asks a node for its births. ``timestamp``: milliseconds."""
    message = wire.Payload(timestamp=timestamp)
    message.metrics.add(name=REBIRTH, timestamp=timestamp, datatype=DataType.Boolean, boolean_value=True)
    encoded: bytes = message.SerializeToString()
    return encoded


def _parse(raw: bytes, limits: Limits) -> Any:
    if len(raw) > limits.bytes:
        raise Refused(f"{len(raw)} bytes; max_payload_bytes is {limits.bytes}")
    if len(raw) > _SMALL:
        _count(raw, limits.metrics)
    message = wire.Payload()
    try:
        message.ParseFromString(raw)
    except DecodeError as error:
        raise Refused(f"not a Sparkplug B payload: {error}") from None
    if len(message.metrics) > limits.metrics:
        raise Refused(f"{len(message.metrics)} metrics; max_metrics is {limits.metrics}")
    return message


def _count(raw: bytes, most: int) -> None:
    """Refuse more than ``most`` metrics before they are built (protobuf encoding: tag, then by wire type)."""
    place = metrics = others = 0
    try:
        while place < len(raw):
            tag, place = _varint(raw, place)
            if tag == 0x12:
                metrics += 1
            else:
                others += 1
            if metrics > most:
                raise Refused(f"more than {most} metrics (max_metrics)")
            if others > _OTHER_PARTS:
                raise Refused(f"more than {_OTHER_PARTS} fields that are not metrics")
            kind = tag & 7
            if kind == 0:
                _, place = _varint(raw, place)
            elif kind == 2:
                length, place = _varint(raw, place)
                place += length
            else:
                place += {1: 8, 5: 4}[kind]
    except (IndexError, KeyError):
        raise Refused("not a Sparkplug B payload: it is cut off, or holds an unknown wire type") from None


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise Refused("not a Sparkplug B payload: a number of more than ten bytes")


def _decompress(message: Any, limits: Limits) -> bytes:
    """The body of a compressed payload (section 6.4.1); DEFLATE unless the metric ``algorithm`` says otherwise."""
    named = (_text(metric.string_value) for metric in message.metrics if metric.name == "algorithm")
    algorithm = next(named, "DEFLATE").upper()
    if algorithm not in ("DEFLATE", "GZIP"):
        raise Refused(f"compressed with {algorithm[:40]!r}; expected DEFLATE or GZIP")
    unpacker = zlib.decompressobj(31 if algorithm == "GZIP" else 15)
    try:
        body = unpacker.decompress(message.body, limits.bytes + 1)
    except zlib.error as error:
        raise Refused(f"its {algorithm} body cannot be unpacked: {error}") from None
    if len(body) > limits.bytes:
        raise Refused(f"unpacked it is more than {limits.bytes} bytes (max_payload_bytes)")
    if not unpacker.eof:
        raise Refused(f"its {algorithm} body is cut off")
    return body


def _metric(raw: Any) -> Metric:
    quality, unit = _properties(raw.properties) if raw.HasField("properties") else (None, None)
    return Metric(
        name=_text(raw.name) if raw.HasField("name") else None,
        alias=raw.alias if raw.HasField("alias") else None,
        timestamp=raw.timestamp if raw.HasField("timestamp") else None,
        datatype=raw.datatype,
        is_historical=raw.is_historical,
        is_null=raw.is_null or raw.WhichOneof("value") is None,
        quality=quality,
        unit=unit,
        raw=raw,
    )


def _properties(properties: Any) -> tuple[int | None, str | None]:
    """``Quality`` and ``engUnit`` (section 6.4.8)."""
    if len(properties.keys) != len(properties.values):
        return _UNREADABLE, None
    quality: int | None = None
    unit = None
    for key, value in zip(properties.keys, properties.values, strict=True):
        if key == "Quality":
            is_int = value.WhichOneof("value") in ("int_value", "long_value")
            quality = (value.int_value or value.long_value) if is_int else _UNREADABLE
        elif key == "engUnit" and value.HasField("string_value"):
            unit = _text(value.string_value)
    return quality, unit


def _text(found: str | bytes) -> str:
    """The protobuf library hands over as bytes what is no UTF-8."""
    if isinstance(found, str):
        return found
    raise Refused(f"a text in it is not UTF-8: {found[:40]!r}")
