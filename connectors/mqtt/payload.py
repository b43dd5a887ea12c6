"""Reads MQTT payloads: plain numbers and documents. Anything doubtful is refused with a reason, never guessed. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from connectors.mqtt.config import JsonPaths, TimeFormat
from schemas.base import EARLIEST_TIME, LATEST_TIME, Quality

LIMIT = 262_144
"""Bytes. One sample takes some hundred; what is far larger is a mistake and not worth the parser's time."""

DOCUMENTS = 1_000
"""In one payload: it becomes records faster than they can be held back."""

_NUMBER = re.compile(rb"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VALUE_LIMIT = 1e18
_SEQUENCE_LIMIT = 2**63 - 1
_PER_UNIT = {TimeFormat.S: 1_000_000, TimeFormat.MS: 1_000, TimeFormat.US: 1}
_QUALITIES = {quality.value: quality for quality in Quality}
Named = TypeVar("Named")
ABSENT = object()
"""Nothing stands there."""


class Refused(ValueError):
    """The payload cannot become a sample; the message says why."""


class Sample(msgspec.Struct, frozen=True, gc=False):
    """What a payload says. ``time``: microseconds; None, like sequence and unit, where it does not say. ``again``: the
    same local time once more, in the hour that comes twice when the clocks are put back."""

    value: float | None
    time: int | None = None
    sequence: int | None = None
    unit: str | None = None
    quality: Quality = Quality.GOOD
    reason: str = ""
    again: int | None = None


def read_number(raw: bytes) -> Sample:
    """A decimal number in ASCII, white space around it allowed. Raises :class:`Refused`."""
    bounded(raw)
    if not _NUMBER.fullmatch(raw):
        raise Refused(f"{_shown(raw)} is no plain number such as 21.5 or -3e2")
    return Sample(checked(float(raw)))


def read_json(raw: bytes) -> Any:
    """A JSON document. Raises :class:`Refused`."""
    bounded(raw)
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(f"not valid JSON: {error}; begins with {_shown(raw)}") from None


def listed(document: Any, path: tuple[str, ...]) -> list[Any]:
    """The documents in the list at ``path``. Raises :class:`Refused`."""
    found = find(document, path)
    if isinstance(found, list):
        if len(found) > DOCUMENTS:
            raise Refused(f"{len(found)} documents in {_dotted(path)}; a payload has at most {DOCUMENTS}")
        return found
    raise Refused(f"the field {_dotted(path)} (each) is {'missing' if found is ABSENT else _kind(found)}, not a list")


def read_sample(document: Any, paths: JsonPaths) -> Sample:
    """The sample at ``paths`` of a document of maps, lists and scalars. Raises :class:`Refused`."""
    value, doubt = _value(_required(document, paths.value, "value"), paths.value)
    quality, reason = _quality(document, paths)
    if value is None:
        quality, doubt = Quality.BAD, "the source gave no value"
    elif doubt and quality is Quality.GOOD:
        quality = Quality.UNCERTAIN
    time, again = (None, None) if paths.time is None else _time(_required(document, paths.time, "time"), paths)
    return Sample(
        value=value,
        time=time,
        again=again,
        sequence=None if paths.sequence is None else _sequence(_required(document, paths.sequence, "sequence"), paths),
        unit=_unit(document, paths),
        quality=quality,
        reason="; ".join(text for text in (doubt, reason) if text),
    )


def read_samples(document: Any, each: Sequence[tuple[Named, JsonPaths]]) -> list[tuple[Named, Sample | Refused]]:
    """What a document says of several points: of each that is in it, a sample or why it cannot become one.

    Raises :class:`Refused` when none is in it.
    """
    found: list[tuple[Named, Sample | Refused]] = []
    for point, paths in each:
        if find(document, paths.value) is ABSENT:
            continue
        try:
            found.append((point, read_sample(document, paths)))
        except Refused as refused:
            found.append((point, refused))
    if not found:
        raise Refused(f"no point's value is in it; looked for {', '.join(_dotted(paths.value) for _, paths in each)}")
    return found


def bounded(raw: bytes) -> None:
    """Refuse what is too large to be one sample."""
    if len(raw) > LIMIT:
        raise Refused(f"{len(raw)} bytes; a payload has at most {LIMIT}")


def find(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at ``path`` (:data:`connectors.mqtt.config.Path`), or :data:`ABSENT`."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step, ABSENT)
        elif isinstance(document, list):
            document = _among(document, step)
        else:
            return ABSENT
    return document


def _among(items: list[Any], step: str) -> Any:
    if step.isascii() and step.isdigit():
        return items[int(step)] if int(step) < len(items) else ABSENT
    key, _, text = step.partition("=")
    if not text:
        return ABSENT
    return next((one for one in items if isinstance(one, dict) and words(one.get(key)) == text), ABSENT)


def words(found: Any) -> str:
    """A scalar of a document as JSON writes it, without quotes; empty for what a person would not name by it."""
    if isinstance(found, str):
        return found
    if isinstance(found, bool | float) or (isinstance(found, int) and abs(found) <= _SEQUENCE_LIMIT):
        return msgspec.json.encode(found).decode()
    return ""


def _dotted(path: tuple[str, ...]) -> str:
    return repr(".".join(path))


def _required(document: Any, path: tuple[str, ...], what: str) -> Any:
    found = find(document, path)
    if found is ABSENT:
        raise Refused(f"the field {_dotted(path)} ({what}) is missing")
    return found


def _value(found: Any, path: tuple[str, ...]) -> tuple[float | None, str]:
    """The number and a doubt about it."""
    if found is None:
        return None, ""
    if isinstance(found, bool):
        return float(found), ""
    if isinstance(found, int | float):
        number = checked(found)
        return number, "" if number == found else f"{found} is rounded to {number:.0f}"
    raise Refused(f"the field {_dotted(path)} (value) is {_kind(found)}, expected a number, true, false or null")


def checked(number: float) -> float:
    """A finite number within ±1e18. Raises :class:`Refused`."""
    # Compared before the conversion: a very long integer has no float.
    if not -_VALUE_LIMIT <= number <= _VALUE_LIMIT or not math.isfinite(number):
        shown = str(number)[:40] if isinstance(number, float) else f"an integer of {number.bit_length()} bits"
        raise Refused(f"the value is {shown}; expected a finite number within ±1e18")
    return float(number)


def _time(found: Any, paths: JsonPaths) -> tuple[int, int | None]:
    again = None
    if paths.time_format is TimeFormat.ISO8601:
        micros, again = _iso(found, paths.zone)
    elif isinstance(found, bool) or not isinstance(found, int | float):
        raise Refused(
            f"the field {_dotted(paths.time or ())} (time) is {_kind(found)}, expected a number ({paths.time_format})"
        )
    else:
        scaled = found * _PER_UNIT[paths.time_format]
        micros = round(scaled) if abs(scaled) < 2 * LATEST_TIME else -1
    if not EARLIEST_TIME <= micros < LATEST_TIME:
        raise Refused(
            f"the time {_kind(found)} ({paths.time_format}) is outside the years 2000 to 2099; is the device's "
            "clock set, and is time_format right?"
        )
    return micros, again


def _iso(found: Any, zone: str | None) -> tuple[int, int | None]:
    if isinstance(found, datetime) and found.tzinfo is not None:  # CBOR has times of its own
        return _micros(found), None
    if not isinstance(found, str):
        raise Refused(f"the time is {_kind(found)}, expected a text such as 2026-11-21T07:00:00.250Z")
    try:
        time = datetime.fromisoformat(found)
    except ValueError:
        raise Refused(f"the time {found[:60]!r} is not ISO 8601, such as 2026-11-21T07:00:00.250Z") from None
    if time.tzinfo is not None:
        return _micros(time), None
    if zone is None:
        raise Refused(
            f"the time {found[:60]!r} has no zone; expected a Z or an offset such as +01:00 at its end, "
            "or the setting json.zone"
        )
    return _local(time, zone)


def _local(time: datetime, zone: str) -> tuple[int, int | None]:
    """Both times that a local one may mean (PEP 495). Raises :class:`Refused` when the clocks leave it out."""
    first, second = (_micros(time.replace(tzinfo=ZoneInfo(zone), fold=fold)) for fold in (0, 1))
    if first == second:
        return first, None
    if first > second:
        raise Refused(
            f"the time {time} is none in {zone}: the clocks are put forward over it; is the device's zone right?"
        )
    return first, second


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _sequence(found: Any, paths: JsonPaths) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= _SEQUENCE_LIMIT:
        raise Refused(
            f"the field {_dotted(paths.sequence or ())} (sequence) is {_kind(found)}, expected an integer from 0"
        )
    return found


def _unit(document: Any, paths: JsonPaths) -> str | None:
    found = ABSENT if paths.unit is None else find(document, paths.unit)
    if found is ABSENT or found is None:
        return None
    if not isinstance(found, str):
        raise Refused(f"the field {_dotted(paths.unit or ())} (unit) is {_kind(found)}, expected a text")
    return found


def _quality(document: Any, paths: JsonPaths) -> tuple[Quality, str]:
    """A quality that is not understood is no reason to trust the value: it becomes uncertain."""
    found = ABSENT if paths.quality is None else find(document, paths.quality)
    if found is ABSENT or found is True:
        return Quality.GOOD, ""
    if found is False:
        return Quality.BAD, "the source says false"
    if isinstance(found, str) and found.lower() in _QUALITIES:
        quality = _QUALITIES[found.lower()]
        return quality, "" if quality is Quality.GOOD else f"the source says {quality}"
    return Quality.UNCERTAIN, f"the source says {_kind(found)}, which is none of good, uncertain, bad, true, false"


def _kind(found: Any) -> str:
    """A short description for a person: what it is and how it begins."""
    if isinstance(found, dict):
        return "an object"
    if isinstance(found, list):
        return "a list"
    if isinstance(found, int) and not isinstance(found, bool) and found.bit_length() > 64:
        return f"an integer of {found.bit_length()} bits"
    return "null" if found is None else repr(found)[:60]


def _shown(raw: bytes) -> str:
    return repr(raw[:60])[1:]
