"""From an OPC UA DataValue to a sample: status, time and number. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from asyncua import ua
from asyncua.ua.status_codes import get_name_and_doc
from asyncua.ua.ua_binary import variant_to_binary

from schemas.base import EARLIEST_TIME, LATEST_TIME, Quality

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 1e18  # of schemas.base.Value
# OPC 10000-4, section 7.38.1: the lower 16 bits of a StatusCode. InfoType 01 in bits 10 and 11 says that the limit bits
# (8 and 9) and the overflow bit (7) mean something.
_INFO_TYPE, _DATA_VALUE = 0xC00, 0x400
_OVERFLOW = 0x80
_STEP = re.compile(r"\[(\d+)\]|(\w+)")
_NO_VALUE = "no value"
_PAGE = 4000
_LIMIT, _LIMITS = 0x300, {0x100: "at its low limit", 0x200: "at its high limit"}


class Sampled(NamedTuple):
    """A sample in the node's unit. ``overflow``: the server dropped samples of the node before this one."""

    value: float | None
    quality: Quality
    reason: str
    event_time: int
    overflow: bool


class UnusableTime(ValueError):
    """The source's clock was never set, or is decades off."""


def status_name(code: int) -> str:
    """The name of a status code, its info bits aside; an unknown one as hexadecimal number."""
    name, text = get_name_and_doc(code & 0xFFFF0000)
    return f"{name} ({code:#010x})" if text.startswith("Unknown") else str(name)


def standard(number: int) -> ua.NodeId:
    """The node of this number in namespace 0."""
    return ua.NodeId.from_string(f"i={number}")


def quality_of(code: int) -> Quality:
    """The class of a status code."""
    return {0: Quality.GOOD, 1: Quality.UNCERTAIN}.get(code >> 30, Quality.BAD)


def content(data: ua.DataValue) -> object:
    """The value itself; None when there is none."""
    return None if data.Value is None else data.Value.Value


def code_of(data: ua.DataValue) -> int:
    """The status; without one it is Good."""
    return 0 if data.StatusCode is None else int(data.StatusCode.value)


def sampled(
    data: ua.DataValue, receive_time: int, clock_tolerance: int = 60_000_000, select: str | None = None
) -> Sampled:
    """What ``data`` says. The time is the source's, else the server's, else ``receive_time`` (all microseconds).

    ``select``: the number's place in a structure or an array, as in the settings.

    A status that is bad, or a value that is no finite number, gives quality bad with the reason; the number is kept
    where the server sent one. A source time more than ``clock_tolerance`` ahead makes it uncertain. Raises UnusableTime
    for a time outside the years 2000 to 2099.
    """
    code = code_of(data)
    quality = quality_of(code)
    described = code & _INFO_TYPE == _DATA_VALUE
    value, problem = _number(data.Value, select)
    # That a bad status comes without a value needs no further word.
    doubts = [problem] if problem and not (problem == _NO_VALUE and quality is Quality.BAD) else []
    if described and (limit := _LIMITS.get(code & _LIMIT)):
        doubts.append(limit)
    event_time = receive_time if (stamped := source_time(data)) is None else stamped
    if (ahead := event_time - receive_time) > clock_tolerance:
        doubts.append(f"the source's clock is {ahead / 1e6:.1f} s ahead")
    if value is None:
        quality = Quality.BAD
    elif doubts and quality is Quality.GOOD:
        quality = Quality.UNCERTAIN
    reasons = [status_name(code), *doubts] if code & 0xFFFF0000 else doubts
    overflow = described and bool(code & _OVERFLOW)
    return Sampled(value, quality, "; ".join(reasons), event_time, overflow)


def raw_bytes(data: ua.DataValue) -> bytes:
    """The value as it stands on the wire (OPC 10000-6, section 5.2.2.16); empty without one."""
    return b"" if data.Value is None else variant_to_binary(data.Value)


def in_words(said: object) -> bytes:
    """What a server said, for a person to read; what is longer than a page is cut."""
    return repr(said)[:_PAGE].encode("utf-8", "replace")


def _number(variant: ua.Variant | None, select: str | None) -> tuple[float | None, str]:
    """The variant, or its selected part, as a finite float64, and what is wrong with it."""
    raw = None if variant is None else variant.Value
    if variant is None or raw is None:
        return None, _NO_VALUE
    if select is not None:
        try:
            raw = _selected(raw, select)
        except LookupError as error:
            return None, str(error.args[0])
        if raw is None:
            return None, _NO_VALUE
        if not isinstance(raw, bool | int | float):
            return None, f"{select} is of type {type(raw).__name__} and cannot be recorded as a number"
    if not isinstance(raw, bool | int | float):
        return None, f"a value of type {variant.VariantType.name} cannot be recorded as a number"
    if isinstance(raw, float) and not math.isfinite(raw):
        return None, f"the value is {raw}"
    if abs(raw) > _LARGEST:
        return None, f"{raw} is beyond what is recorded (±1e18)"
    value = float(raw)
    return value, "" if value == raw else f"{raw} is rounded to the nearest 64-bit float"


def _selected(raw: object, select: str) -> object:
    """The part of ``raw`` that ``select`` names. Raises LookupError that says what is there instead."""
    done = ""
    for index, name in _STEP.findall(select):
        if index:
            if not isinstance(raw, list):
                raise LookupError(f"{done or 'the value'} is no array, so that {select} cannot be taken from it")
            if int(index) >= len(raw):
                raise LookupError(f"{done or 'the value'} has {len(raw)} elements, so that {select} is not there")
            raw, done = raw[int(index)], f"{done}[{index}]"
        else:
            known = [field.name for field in fields(raw)] if is_dataclass(raw) else []
            if name not in known:
                there = f"it has {', '.join(known)}" if known else f"it is of type {type(raw).__name__}"
                raise LookupError(f"{done or 'the value'} has no field {name}: {there}")
            raw, done = getattr(raw, name), f"{done}.{name}" if done else name
    return raw


def source_time(data: ua.DataValue) -> int | None:
    """The source's time, else the server's, in microseconds; None when there is neither. Raises UnusableTime."""
    stamp: datetime | None = data.SourceTimestamp or data.ServerTimestamp
    return None if stamp is None else micros_of(stamp)


def micros_of(stamp: datetime) -> int:
    """Microseconds since 1970; without a zone it is UTC. Raises UnusableTime outside the years 2000 to 2099."""
    micros = ((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    if not EARLIEST_TIME <= micros < LATEST_TIME:
        raise UnusableTime(f"its time is {stamp.isoformat()}; usable are the years 2000 to 2099")
    return micros
