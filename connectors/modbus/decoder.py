"""From registers to a value: every type, every byte and word order, exact scaling. Pure.

Registers travel most significant byte first (Modbus Application Protocol V1.1b3, section 4.2); how a device spreads
longer values over them is its own choice, hence ``byte_order`` and ``word_order``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from connectors.modbus.config import Order, Register, Type
from schemas.base import Quality

LARGEST = 1e18
"""The largest magnitude that ``schemas.base.Value`` takes."""
_FLOATS = {Type.FLOAT16: ">e", Type.FLOAT32: ">f", Type.FLOAT64: ">d"}


class Reading(NamedTuple):
    """A decoded value in the register's unit. ``value`` is None exactly when ``quality`` is bad."""

    value: float | None
    quality: Quality = Quality.GOOD
    reason: str = ""


def bad(reason: str) -> Reading:
    """No value, and why."""
    return Reading(None, Quality.BAD, reason)


def decode(register: Register, answer: Sequence[int] | Sequence[bool]) -> Reading:
    """The value that ``answer`` holds: exactly the register's own words (each 0 to 65535), or its one bit.

    NaN, infinity, ``no_value`` and what no float64 within ±1e18 can hold are bad; a 64-bit integer that a float64
    can only round is uncertain, as is a value outside the range. Raises ValueError when ``answer`` has another length.
    """
    if len(answer) != register.size:
        raise ValueError(f"{register.point} needs {register.size} words or bits, but {len(answer)} were given")
    if register.kind.is_bit:
        return _reading(1.0 if answer[0] else 0.0)
    pattern = _pattern(register, answer)
    if register.no_value is not None and pattern == register.no_value:
        return bad(f"the device says that it has no value (raw {pattern:#x})")
    if register.type.is_float:
        return _scaled_float(register, pattern)
    return _scaled_integer(register, pattern)


def _pattern(register: Register, words: Sequence[int]) -> int:
    """The value's bits as an unsigned integer, orders undone."""
    ordered = words if register.word_order is Order.BIG else words[::-1]
    size = "big" if register.byte_order is Order.BIG else "little"
    raw = b"".join(int(word).to_bytes(2, size) for word in ordered)  # type: ignore[arg-type]
    whole = int.from_bytes(raw, "big")
    if register.bit is not None:
        return whole >> register.bit & 1
    return whole & ((1 << register.type.bits) - 1)


def _scaled_integer(register: Register, pattern: int) -> Reading:
    bits = register.type.bits
    number = pattern - (1 << bits) if register.type.is_signed and pattern >> (bits - 1) else pattern
    scale, offset = register.exact
    exact = Fraction(number) * Fraction(scale) + Fraction(offset)
    if abs(exact) > LARGEST:
        return bad(f"raw {number} is beyond what is recorded (±1e18)")
    value = float(exact)
    if exact.denominator == 1 and Fraction(value) != exact:
        # 2^53 and more: a float64 no longer tells neighbouring integers apart.
        return _reading(value, f"{exact.numerator} is rounded to the nearest 64-bit float")
    return _reading(value)


def _scaled_float(register: Register, pattern: int) -> Reading:
    layout = _FLOATS[register.type]
    (number,) = struct.unpack(layout, pattern.to_bytes(struct.calcsize(layout), "big"))
    if not math.isfinite(number):
        return bad(f"the register holds {number}")
    if (register.scale, register.offset) == (1.0, 0.0):
        exact = Fraction(number)
    else:
        scale, offset = register.exact
        exact = Fraction(number) * Fraction(scale) + Fraction(offset)
    if abs(exact) > LARGEST:
        return bad(f"raw {number:g} is beyond what is recorded (±1e18)")
    return _reading(float(exact))


def _reading(value: float, doubt: str = "") -> Reading:
    return Reading(value, Quality.UNCERTAIN if doubt else Quality.GOOD, doubt)
