"""From registers to a value: every type, every byte and word order, exact scaling. Pure.

Registers travel most significant byte first (Modbus Application Protocol V1.1b3, section 4.2); how a device spreads
longer values over them is its own choice, hence ``byte_order`` and ``word_order``.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from connectors.modbus.registers import Order, Register, Type
from schemas.base import Quality

LARGEST = 1e18
"""The largest magnitude that ``schemas.base.Value`` takes."""
LARGEST_EXPONENT = 10
"""Of a scale factor."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?")  # no more: 1e999999999 is one, too
FLOATS = {Type.FLOAT16: ">e", Type.FLOAT32: ">f", Type.FLOAT64: ">d"}


class Reading(NamedTuple):
    """A decoded value in the register's unit. ``value`` is None exactly when ``quality`` is bad."""

    value: float | None
    quality: Quality = Quality.GOOD
    reason: str = ""


def bad(reason: str) -> Reading:
    """No value, and why."""
    return Reading(None, Quality.BAD, reason)


def exponent(words: Sequence[int]) -> int | str:
    """The power of ten in a scale factor's one word, or why it is none (SunSpec: int16, -10 to 10)."""
    (word,) = words
    power = word - 0x10000 if word >= 0x8000 else word
    if abs(power) <= LARGEST_EXPONENT:
        return power
    said = "says that it has no value" if word == 0x8000 else f"holds {power}; expected -10 to 10"
    return f"the register of the scale factor {said}"


def decode(register: Register, answer: Sequence[int] | Sequence[bool], power: int = 0) -> Reading:
    """The value that ``answer`` holds: exactly the register's own words (each 0 to 65535), or its one bit.

    ``power``: of ten, from its scale factor. NaN, infinity, ``no_value`` and what no float64 within ±1e18 can hold are
    bad; a 64-bit integer that a float64 can only round is uncertain, as is a value outside the range. Raises ValueError
    when ``answer`` has another length.
    """
    if len(answer) != register.size:
        raise ValueError(f"{register.point} needs {register.size} words or bits, but {len(answer)} were given")
    if register.kind.is_bit:
        return _reading(1.0 if answer[0] else 0.0)
    if register.type is Type.STRING:
        return _text(register, answer)
    pattern = _pattern(register, answer)
    if pattern in register.no_value:
        return bad(f"the device says that it has no value (raw {pattern:#x})")
    if register.type.is_float:
        return _scaled_float(register, pattern, power)
    if register.type.is_decimal:
        digits = f"{pattern:x}"
        if not digits.isdecimal():
            return bad(f"the register holds {pattern:#x}, which is no binary-coded decimal")
        pattern = int(digits)
    return _scaled_integer(register, pattern, power)


def _pattern(register: Register, words: Sequence[int]) -> int:
    """The value's bits as an unsigned integer, orders undone."""
    ordered = words if register.word_order is Order.BIG else words[::-1]
    size = "big" if register.byte_order is Order.BIG else "little"
    raw = b"".join(int(word).to_bytes(2, size) for word in ordered)  # type: ignore[arg-type]
    whole = int.from_bytes(raw, "big")
    if register.bit is not None:
        return whole >> register.bit & ((1 << (register.width or 1)) - 1)
    return whole & ((1 << register.type.bits) - 1)


def _scaled(register: Register, number: Fraction, power: int) -> Fraction:
    scale, offset = register.exact
    return number * scale * Fraction(10) ** power + offset


def _scaled_integer(register: Register, pattern: int, power: int) -> Reading:
    bits = register.type.bits
    number = pattern - (1 << bits) if register.type.is_signed and pattern >> (bits - 1) else pattern
    if not power and register.is_plain and abs(number) < 2**53:
        return _reading(float(number))
    exact = _scaled(register, Fraction(number), power)
    if abs(exact) > LARGEST:
        return bad(f"raw {number} is beyond what is recorded (±1e18)")
    value = float(exact)
    if exact.denominator == 1 and Fraction(value) != exact:
        # 2^53 and more: a float64 no longer tells neighbouring integers apart.
        return _reading(value, f"{exact.numerator} is rounded to the nearest 64-bit float")
    return _reading(value)


def _scaled_float(register: Register, pattern: int, power: int) -> Reading:
    layout = FLOATS[register.type]
    (number,) = struct.unpack(layout, pattern.to_bytes(struct.calcsize(layout), "big"))
    if not math.isfinite(number):
        return bad(f"the register holds {number}")
    exact = _scaled(register, Fraction(number), power)
    if abs(exact) > LARGEST:
        return bad(f"raw {number:g} is beyond what is recorded (±1e18)")
    return _reading(float(exact))


def _text(register: Register, words: Sequence[int]) -> Reading:
    """A label's number, or the number that the text says."""
    said = text(words, register.byte_order)
    if said in register.labels:
        return _reading(register.labels[said])
    if not _NUMBER.fullmatch(said):
        known = f"nor one of its labels {sorted(register.labels)}" if register.labels else "and it has no labels"
        return bad(f"the registers say {said!r}, which is neither a number {known}")
    exact = _scaled(register, Fraction(said), 0)
    return bad(f"{said} is beyond what is recorded (±1e18)") if abs(exact) > LARGEST else _reading(float(exact))


def text(words: Sequence[int], order: Order = Order.BIG) -> str:
    """What the registers of a text say: UTF-8, ended by a zero; control characters and the space around left out."""
    raw = b"".join(int(word).to_bytes(2, "big" if order is Order.BIG else "little") for word in words)
    said = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(c for c in said if c.isprintable()).strip()


def _reading(value: float, doubt: str = "") -> Reading:
    return Reading(value, Quality.UNCERTAIN if doubt else Quality.GOOD, doubt)
