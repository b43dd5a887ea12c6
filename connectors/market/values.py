"""Prices, sizes, numbers and times as venues and files write them: numbers or texts. Pure.

Every function raises Bad for what cannot be that.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any

from connectors.market.contract.events import Bad, price, size, time_of


class TimeFormat(enum.StrEnum):
    """How times are written: a number since 1970, or ISO 8601 with a zone."""

    SECONDS = "s"
    MILLIS = "ms"
    MICROS = "us"
    NANOS = "ns"
    ISO = "iso"


_NAMED = {
    TimeFormat.SECONDS: "seconds",
    TimeFormat.MILLIS: "milliseconds",
    TimeFormat.MICROS: "microseconds",
    TimeFormat.NANOS: "nanoseconds",
}
_SCALE = {TimeFormat.SECONDS: 10**6, TimeFormat.MILLIS: 10**3, TimeFormat.MICROS: 1}


def price_of(found: Any) -> float:
    """A price, as a number or as text."""
    return price(_float(found, "price"))


def size_of(found: Any) -> float:
    """A size, as a number or as text."""
    return size(_float(found, "size"))


def _float(found: Any, what: str) -> float:
    kind = type(found)
    if kind is not str and kind is not float and kind is not int:
        raise Bad(f"the {what} is missing or no number")
    try:
        if kind is not str or (found.isascii() and "_" not in found):  # what Python reads besides, no venue writes
            return float(found)
    except (ValueError, OverflowError):
        pass
    hint = "; expected a decimal point and no separators, such as 1234.5" if kind is str and "," in found else ""
    raise Bad(f"the {what} {found!r:.60} is no number{hint}")


def sequence_of(found: Any) -> int:
    """A sequence number, as a number or as digits."""
    if type(found) is int and 0 <= found < 2**63:
        return found
    if type(found) is str and found.isdecimal() and found.isascii() and len(found) <= 18:
        return int(found)
    said = f"{found!r:.60} is none" if isinstance(found, int | float | str) else "is missing"
    raise Bad(f"the sequence {said}; expected a whole number")


def micros_of(found: Any, form: TimeFormat) -> int:
    """A time in the venue's format as microseconds."""
    if form is TimeFormat.ISO:
        when = moment_of(found)
        if when.tzinfo is None:
            raise Bad(f"the time {found!r:.60} has no zone")
        return time_of(round(when.timestamp() * 1e6))
    try:
        if form is TimeFormat.NANOS:
            return time_of(found // 1000 if type(found) is int else Decimal(str(found)) / 1000)
        return time_of((found if type(found) is int else Decimal(str(found))) * _SCALE[form])
    except Bad:
        raise
    except (ValueError, ArithmeticError) as error:
        raise Bad(f"the time {found!r:.60} is none; expected {_NAMED[form]} since 1970, a number") from error


def moment_of(found: Any) -> datetime:
    """A time that is written as ISO 8601, with a zone or without."""
    try:
        return datetime.fromisoformat(str(found).strip())
    except ValueError as error:
        raise Bad(f"the time {found!r:.60} is none; expected ISO 8601, such as 2026-11-20T10:00:00.25Z") from error
