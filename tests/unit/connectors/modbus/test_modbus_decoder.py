"""The decoder against struct as an independent oracle, over every type and order."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.modbus.decoder import LARGEST, decode, exponent
from connectors.modbus.registers import Register
from schemas.base import Quality

LAYOUT = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}
ORDERS = st.sampled_from(["big", "little"])


def register(**fields):
    return Register.model_validate({"point": "p", "kind": "holding", "address": 0, "unit": "1", **fields})


def words_of(raw: bytes, byte_order: str, word_order: str) -> list[int]:
    """The value's bytes, most significant first, as a device with these orders lays them into registers."""
    pairs = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if word_order == "little":
        pairs.reverse()
    return [int.from_bytes(pair, byte_order) for pair in pairs]


def raw_values(kind: str):
    layout = LAYOUT[kind]
    bits = 8 * struct.calcsize(layout)
    if layout in "efd":
        return st.floats(width=bits)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if layout.islower() else st.integers(0, 2**bits - 1)


@given(data=st.data(), kind=st.sampled_from(list(LAYOUT)), byte_order=ORDERS, word_order=ORDERS)
def test_decoder_when_any_type_and_order_returns_the_number_that_was_laid_down(data, kind, byte_order, word_order):
    number = data.draw(raw_values(kind))
    words = words_of(struct.pack(f">{LAYOUT[kind]}", number), byte_order, word_order)
    reading = decode(register(type=kind, byte_order=byte_order, word_order=word_order), words)
    if not math.isfinite(number) or abs(number) > LARGEST:
        assert reading.value is None
        assert reading.quality is Quality.BAD
        assert reading.reason
    elif Fraction(float(number)) == Fraction(number):
        assert reading == (number, Quality.GOOD, "")
    else:
        assert reading.value == float(number)
        assert reading.quality is Quality.UNCERTAIN
        assert "rounded" in reading.reason


@given(
    data=st.data(),
    kind=st.sampled_from(["int16", "uint16", "int32", "uint32"]),
    scale=st.sampled_from([0.1, 0.01, 0.001, 10.0, 1e-6, -0.1]),
    offset=st.sampled_from([0.0, -273.15, 0.3, 1000.0]),
)
def test_decoder_when_scaled_gives_the_float_nearest_to_the_exact_decimal(data, kind, scale, offset):
    number = data.draw(raw_values(kind))
    reading = decode(
        register(type=kind, scale=scale, offset=offset), words_of(struct.pack(f">{LAYOUT[kind]}", number), "big", "big")
    )
    assert reading.value == float(number * Decimal(str(scale)) + Decimal(str(offset)))
    assert reading.quality is Quality.GOOD


def test_decoder_when_scale_is_a_tenth_does_not_show_binary_dust():
    assert decode(register(type="uint16", scale=0.1), [3]).value == 0.3  # 3 * 0.1 is 0.30000000000000004


@given(data=st.data(), kind=st.sampled_from(list(LAYOUT)))
def test_decoder_when_words_are_arbitrary_never_gives_nan_or_more_than_the_schema_takes(data, kind):
    point = register(type=kind, scale=data.draw(st.sampled_from([1.0, 1e9, 1e-9])))
    words = data.draw(st.lists(st.integers(0, 65_535), min_size=point.size, max_size=point.size))
    reading = decode(point, words)
    assert (reading.value is None) == (reading.quality is Quality.BAD)
    if reading.value is not None:
        assert abs(reading.value) <= LARGEST


@given(word=st.integers(0, 65_535), bit=st.integers(0, 15))
def test_decoder_when_a_bool_is_a_bit_of_a_register_reads_that_bit(word, bit):
    assert decode(register(type="bool", bit=bit), [word]).value == (word >> bit) % 2


@given(word=st.integers(0, 65_535))
def test_decoder_when_8_bits_reads_the_byte_that_the_order_names(word):
    high, low = divmod(word, 256)
    assert decode(register(type="uint8"), [word]).value == low
    assert decode(register(type="uint8", byte_order="little"), [word]).value == high
    assert decode(register(type="int8"), [word]).value == (low - 256 if low > 127 else low)


@pytest.mark.parametrize("bit", [True, False])
def test_decoder_when_the_table_holds_bits_gives_one_or_zero(bit):
    assert decode(register(kind="coil", type="bool"), [bit]).value == float(bit)


@pytest.mark.parametrize(
    ("kind", "no_value", "words"), [("int16", 0x8000, [0x8000]), ("uint32", 0xFFFFFFFF, [0xFFFF, 0xFFFF])]
)
def test_decoder_when_the_device_says_it_has_no_value_is_bad(kind, no_value, words):
    reading = decode(register(type=kind, no_value=no_value), words)
    assert reading.value is None
    assert reading.quality is Quality.BAD
    assert "no value" in reading.reason


def test_decoder_when_several_patterns_mean_no_value_takes_each_for_it():
    point = register(type="uint16", no_value=[0x8000, 0xFFFF])
    assert [decode(point, [word]).value for word in (0x8000, 0xFFFF, 7)] == [None, None, 7]


@given(data=st.data(), kind=st.sampled_from(["uint16", "uint32", "uint64"]), byte_order=ORDERS, word_order=ORDERS)
def test_decoder_when_a_field_of_bits_is_named_reads_those_bits(data, kind, byte_order, word_order):
    number = data.draw(raw_values(kind))
    bits = 8 * struct.calcsize(LAYOUT[kind])
    bit = data.draw(st.integers(0, bits - 1))
    width = data.draw(st.integers(1, min(bits - bit, 50)))
    words = words_of(struct.pack(f">{LAYOUT[kind]}", number), byte_order, word_order)
    point = register(type=kind, bit=bit, width=width, byte_order=byte_order, word_order=word_order)
    assert decode(point, words).value == int(f"{number:0{bits}b}"[bits - bit - width : bits - bit], 2)


@given(number=st.integers(0, 9999_9999), byte_order=ORDERS, word_order=ORDERS)
def test_decoder_when_binary_coded_decimal_reads_the_digits(number, byte_order, word_order):
    words = words_of(bytes.fromhex(f"{number:08}"), byte_order, word_order)
    point = register(type="bcd32", byte_order=byte_order, word_order=word_order, scale=0.01)
    assert decode(point, words).value == float(Fraction(number, 100))


@given(word=st.integers(0, 0xFFFF))
def test_decoder_when_a_digit_is_none_is_bad_and_otherwise_reads_four(word):
    reading = decode(register(type="bcd16"), [word])
    if any(digit in "abcdef" for digit in f"{word:x}"):
        assert reading.value is None
        assert "binary-coded decimal" in reading.reason
    else:
        assert reading.value == int(f"{word:x}")


@pytest.mark.parametrize(
    ("said", "value"),
    [
        (b"  12.50\0x", 12.5),
        (b"-3e2", -300),
        (b"RUN", 1),
        (b"STOP\0\0", 0),
        (b"FAULT", None),
        (b"", None),
        (b"1/3", None),
        (b"nan", None),
        (b"1e999999999", None),
        (b"1e40", None),
        (b"\xff\xfe", None),
    ],
)
@pytest.mark.parametrize("order", ["big", "little"])
def test_decoder_when_registers_hold_text_reads_its_number_or_label(said, value, order):
    words = [int.from_bytes(said.ljust(16, b"\0")[at : at + 2], order) for at in range(0, 16, 2)]
    point = register(type="string", length=8, byte_order=order, labels={"RUN": 1, "STOP": 0})
    reading = decode(point, words)
    assert reading.value == value
    assert (reading.quality is Quality.BAD) == (value is None)


@given(
    word=st.integers(0, 0xFFFF), power=st.integers(-10, 10), scale=st.sampled_from([1.0, 0.5, 0.1]), kind=st.booleans()
)
def test_decoder_when_a_scale_factor_was_read_is_exact_and_rounded_once(word, power, scale, kind):
    point = register(type="uint16" if kind else "int16", scale=scale, scale_factor=9)
    number = word if kind or word < 0x8000 else word - 0x10000
    assert decode(point, [word], power).value == float(Fraction(number) * Fraction(str(scale)) * Fraction(10) ** power)


@pytest.mark.parametrize(
    ("word", "power"), [(0, 0), (10, 10), (0xFFFF, -1), (0xFFF6, -10), (11, "holds 11"), (0x8000, "has no value")]
)
def test_scale_factor_when_read_is_a_power_of_ten_or_says_why_not(word, power):
    read = exponent([word])
    assert read == power if isinstance(power, int) else power in read


@pytest.mark.parametrize("words", [[], [1], [1, 2, 3]])
def test_decoder_when_the_answer_has_another_length_refuses(words):
    with pytest.raises(ValueError, match="needs 2 words"):
        decode(register(type="float32"), words)
