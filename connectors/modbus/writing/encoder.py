"""From a value to registers: the decoder's inverse, exact or not at all. Pure."""

from __future__ import annotations

import struct
from decimal import Decimal
from fractions import Fraction

from connectors.modbus.decoder import FLOATS
from connectors.modbus.registers import Order, Register
from connectors.modbus.writing.change import Change
from connectors.units import conversion

_FINEST = 10**12  # a conversion's factor has 28 digits: 3599.9999999999999999 of them is 3600


class Unwritable(ValueError):
    """This value is not to be written; says why."""


def encode(register: Register, asked: Decimal, power: int = 0, *, multiple: bool = False) -> Change:
    """The change after which ``register`` says ``asked`` (in its ``unit``, finite).

    ``power``: of ten, from its scale factor. An integer, scaled or not, must hold the value exactly; a float, or what
    is converted between units, must give it back when rounded to the decimal places that were asked for. Raises
    Unwritable.
    """
    scale, offset = register.exact
    factor = scale * Fraction(10) ** power
    number = (_in_source_unit(register, Fraction(asked)) - offset) / factor
    pattern, held = _float(register, number) if register.type.is_float else _integer(register, number)
    told = _in_unit(register, held * factor + offset)
    places = max(0, -int(asked.as_tuple().exponent))
    rounded = register.type.is_float or register.source_unit is not None
    if told != Fraction(asked) and not (rounded and round(told, places) == Fraction(asked)):
        raise Unwritable(
            f"{asked} {register.unit} cannot be held exactly as {register.type}{_scaling(register, power)}; "
            f"the nearest that can is {float(told):.17g}"
        )
    if pattern in register.no_value:
        raise Unwritable(f"{asked} is raw {pattern:#x}, by which the device says that it has no value")
    if register.kind.is_bit:
        return Change(register.kind, register.address, (bool(pattern),), multiple=multiple)
    shift = register.bit or 0
    words = _laid_out(register, pattern << shift)
    mask = _laid_out(register, ((1 << _width(register)) - 1) << shift)[0] if register.is_partial else None
    return Change(register.kind, register.address, words, mask, multiple)


def _width(register: Register) -> int:
    """Bits of the value's pattern."""
    return register.width or register.type.bits


def _float(register: Register, number: Fraction) -> tuple[int, Fraction]:
    """The pattern of the nearest float, and the number that it is."""
    layout = FLOATS[register.type]
    try:
        raw = struct.pack(layout, float(number))
    except OverflowError:
        raise Unwritable(f"raw {float(number):g} is beyond what {register.type} can hold") from None
    return int.from_bytes(raw, "big"), Fraction(struct.unpack(layout, raw)[0])


def _integer(register: Register, number: Fraction) -> tuple[int, Fraction]:
    """The pattern of the nearest integer, and that integer."""
    nearest, bits = round(number), _width(register)
    if register.type.is_decimal:
        least, most = 0, 10 ** (bits // 4) - 1
    elif register.type.is_signed:
        least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    else:
        least, most = 0, (1 << bits) - 1
    if not least <= nearest <= most:
        raise Unwritable(f"raw {nearest} does not fit: {register.type} of {bits} bits holds {least} to {most}")
    pattern = int(str(nearest), 16) if register.type.is_decimal else nearest & ((1 << bits) - 1)
    return pattern, Fraction(nearest)


def _laid_out(register: Register, whole: int) -> tuple[int, ...]:
    """The bits of ``whole`` as words on the wire, in the register's orders."""
    raw = whole.to_bytes(2 * register.size, "big")
    order = "big" if register.byte_order is Order.BIG else "little"
    words = [int.from_bytes(raw[at : at + 2], order) for at in range(0, len(raw), 2)]  # type: ignore[arg-type]
    return tuple(words if register.word_order is Order.BIG else words[::-1])


def _in_source_unit(register: Register, value: Fraction) -> Fraction:
    if register.source_unit is None:
        return value
    how = conversion(register.source_unit, register.unit)
    return ((value - how.offset) / how.factor).limit_denominator(_FINEST)


def _in_unit(register: Register, value: Fraction) -> Fraction:
    if register.source_unit is None:
        return value
    how = conversion(register.source_unit, register.unit)
    return value * how.factor + how.offset


def _scaling(register: Register, power: int) -> str:
    """How the number in the register becomes the value, where it is not the value."""
    said = [f"scale {register.scale:g}"] if register.scale != 1 else []
    said += [f"scale factor 10^{power}"] if register.scale_factor is not None else []
    said += [f"offset {register.offset:g}"] if register.offset else []
    return f" with {', '.join(said)}" if said else ""
