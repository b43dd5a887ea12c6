"""The decoder against struct as an independent oracle, over every type and order."""

import math
import struct
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.modbus.config import Register
from connectors.modbus.decoder import LARGEST, decode
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


@pytest.mark.parametrize("words", [[], [1], [1, 2, 3]])
def test_decoder_when_the_answer_has_another_length_refuses(words):
    with pytest.raises(ValueError, match="needs 2 words"):
        decode(register(type="float32"), words)
