"""The encoder held to struct, to the decoder, and to what cannot be held."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectors.modbus.decoder import LARGEST, decode
from connectors.modbus.writing.encoder import Unwritable, encode
from tests.unit.connectors.modbus.test_modbus_decoder import LAYOUT, ORDERS, raw_values, register, words_of

SCALES = st.sampled_from([1.0, 0.1, 0.01, 10.0, 2.5, -0.1, 1e-6])
OFFSETS = st.sampled_from([0.0, -273.15, 0.3, 1000.0])
INTEGERS = [kind for kind in LAYOUT if "int" in kind]
FLOATS = [kind for kind in LAYOUT if "float" in kind]
WORDS = st.integers(0, 0xFFFF)


def decimal(exact: Fraction) -> Decimal:
    """The same number; its denominator is one of powers of 2 and 5."""
    places = 0
    while exact.denominator != 1:
        exact, places = exact * 10, places + 1
    return Decimal(exact.numerator).scaleb(-places)


@given(
    data=st.data(),
    kind=st.sampled_from(INTEGERS),
    byte_order=ORDERS,
    word_order=ORDERS,
    scale=SCALES,
    offset=OFFSETS,
    power=st.sampled_from([None, -3, 0, 2]),
)
def test_encoder_when_an_integer_of_any_type_order_and_scale_holds_it_lays_down_exactly_that_one(
    data, kind, byte_order, word_order, scale, offset, power
):
    number = data.draw(raw_values(kind))
    point = register(
        type=kind,
        byte_order=byte_order,
        word_order=word_order,
        scale=scale,
        offset=offset,
        scale_factor=None if power is None else 9,
    )
    exact = number * Fraction(str(scale)) * Fraction(10) ** (power or 0) + Fraction(str(offset))
    change = encode(point, decimal(exact), power or 0)
    assert list(change.words) == words_of(struct.pack(f">{LAYOUT[kind]}", number), byte_order, word_order)
    assert change.mask is None
    assert change.address == point.address
    if abs(exact) <= LARGEST:
        assert decode(point, change.words, power or 0).value == float(exact)


@given(data=st.data(), kind=st.sampled_from(FLOATS), byte_order=ORDERS, word_order=ORDERS)
def test_encoder_when_a_float_is_given_as_it_is_held_lays_down_its_bits(data, kind, byte_order, word_order):
    number = data.draw(raw_values(kind))
    assume(math.isfinite(number) and number != 0)
    point = register(type=kind, byte_order=byte_order, word_order=word_order)
    expected = words_of(struct.pack(f">{LAYOUT[kind]}", number), byte_order, word_order)
    assert list(encode(point, Decimal(number)).words) == expected


@given(digits=st.integers(-999_999, 999_999), places=st.integers(0, 6), scale=SCALES)
def test_encoder_when_a_float32_is_given_with_six_digits_takes_the_nearest(digits, places, scale):
    asked = Decimal(digits).scaleb(-places)
    point = register(type="float32", scale=scale)
    value = decode(point, encode(point, asked).words).value
    assert value is not None
    assert round(Fraction(value), places) == Fraction(asked)


@given(data=st.data(), word=WORDS, byte_order=ORDERS)
def test_encoder_when_the_value_is_some_bits_of_a_register_leaves_the_others_alone(data, word, byte_order):
    bit = data.draw(st.integers(0, 15))
    width = data.draw(st.integers(1, 16 - bit))
    points = [
        register(type="bool", bit=bit, byte_order=byte_order),
        register(type="uint16", bit=bit, width=width, byte_order=byte_order),
        register(type="uint8", byte_order=byte_order),
        register(type="int8", byte_order=byte_order),
    ]
    for point, most in zip(points, (1, 2**width - 1, 255, 127), strict=True):
        asked = data.draw(st.integers(-128 if point.type.is_signed else 0, most))
        change = encode(point, Decimal(asked))
        assert change.mask is not None
        after = word & ~change.mask | change.words[0] & change.mask
        assert decode(point, [after]).value == asked
        assert change.holds([after])
        for other in points[:2]:
            same = decode(other, [word]) == decode(other, [after])
            assert same or change.mask & encode(other, Decimal(0)).mask


@given(number=st.integers(0, 9999_9999), byte_order=ORDERS, word_order=ORDERS)
def test_encoder_when_binary_coded_decimal_lays_down_the_digits(number, byte_order, word_order):
    point = register(type="bcd32", byte_order=byte_order, word_order=word_order, scale=0.01)
    expected = words_of(bytes.fromhex(f"{number:08}"), byte_order, word_order)
    assert list(encode(point, Decimal(number).scaleb(-2)).words) == expected


@pytest.mark.parametrize(("asked", "bit"), [("1", True), ("0", False), ("1.0", True)])
def test_encoder_when_it_is_a_coil_is_one_bit(asked, bit):
    assert encode(register(kind="coil", type="bool"), Decimal(asked)).words == (bit,)


@pytest.mark.parametrize(
    ("fields", "asked", "words"),
    [
        ({"type": "uint32", "unit": "MW", "source_unit": "kW"}, "1.5", [0, 1500]),
        ({"type": "uint16", "unit": "W.h", "source_unit": "J"}, "1", [3600]),
        ({"type": "int16", "unit": "Cel", "source_unit": "[degF]"}, "-40", [0x10000 - 40]),
        (
            {"type": "float32", "unit": "MW", "source_unit": "kW"},
            "0.0123",
            words_of(struct.pack(">f", 12.3), "big", "big"),
        ),
    ],
)
def test_encoder_when_the_device_has_another_unit_converts_back(fields, asked, words):
    assert list(encode(register(**fields), Decimal(asked)).words) == words


@pytest.mark.parametrize(
    ("fields", "asked", "said"),
    [
        ({"type": "uint16", "scale": 0.1}, "0.15", "the nearest that can is 0.2"),
        ({"type": "int16"}, "0.5", "cannot be held exactly as int16"),
        ({"type": "float32"}, "16777217", "the nearest that can is 16777216"),
        ({"type": "float32"}, "0.123456789", "cannot be held exactly as float32"),
        ({"type": "uint16"}, "-1", "raw -1 does not fit: uint16 of 16 bits holds 0 to 65535"),
        ({"type": "int8"}, "128", "holds -128 to 127"),
        ({"type": "uint16", "bit": 4, "width": 2}, "4", "uint16 of 2 bits holds 0 to 3"),
        ({"type": "bcd16"}, "10000", "holds 0 to 9999"),
        ({"type": "float16"}, "70000", "beyond what float16 can hold"),
        ({"type": "uint16", "no_value": 0xFFFF}, "65535", "the device says that it has no value"),
        ({"kind": "coil", "type": "bool"}, "2", "holds 0 to 1"),
        ({"type": "uint16", "scale_factor": 7}, "15", "with scale factor 10^1"),
        ({"type": "uint32", "unit": "MW", "source_unit": "kW"}, "0.0001", "the nearest that can is 0"),
    ],
)
def test_encoder_when_the_register_cannot_hold_it_says_why(fields, asked, said):
    with pytest.raises(Unwritable) as refused:
        encode(register(**fields), Decimal(asked), 1 if "scale_factor" in fields else 0)
    assert said in str(refused.value)
