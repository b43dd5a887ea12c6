from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sparkplug import wire
from connectors.sparkplug.payload import DataType
from connectors.sparkplug.values import NoNumber, members_of, number


def metric(**fields: Any) -> Any:
    return wire.Payload().metrics.add(**fields)


INTEGERS = [(f"{sign}Int{bits}", bits, not sign) for bits in (8, 16, 32, 64) for sign in ("", "U")]


@pytest.mark.parametrize(("name", "bits", "signed"), INTEGERS)
@given(data=st.data())
def test_integer_when_written_by_any_encoder_is_read_exactly(
    name: str, bits: int, signed: bool, data: st.DataObject
) -> None:
    least, most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    value = data.draw(st.integers(max(least, -(2**53)), min(most, 2**53)))
    datatype = DataType[name]
    # In its own width, sign-extended to 32 or to 64 bits: encoders differ.
    forms = [{"long_value": value % 2**64}, {"long_value": value % 2**bits}]
    if bits <= 32:
        forms += [{"int_value": value % 2**32}, {"int_value": value % 2**bits}]
    for form in forms:
        assert number(metric(**form), datatype, (), {}) == (float(value), "")
    if bits < 64:
        with pytest.raises(NoNumber, match="does not fit"):
            number(metric(long_value=2**bits), datatype, (), {})


def test_integer_when_beyond_what_a_float_holds_is_doubted_or_refused() -> None:
    assert number(metric(long_value=2**53 + 1), DataType.UInt64, (), {}) == (
        2.0**53,
        "9007199254740993 is rounded to 9007199254740992",
    )
    with pytest.raises(NoNumber, match="within ±1e18"):
        number(metric(long_value=2**63), DataType.UInt64, (), {})


@pytest.mark.parametrize(
    ("datatype", "fields", "value"),
    [
        (DataType.Float, {"float_value": 1.5}, 1.5),
        (DataType.Double, {"double_value": -2.5}, -2.5),
        (DataType.Boolean, {"boolean_value": True}, 1.0),
        (DataType.DateTime, {"long_value": 1_795_244_400_250}, 1_795_244_400_250.0),
    ],
)
def test_scalar_when_read_is_its_number(datatype: DataType, fields: dict[str, Any], value: float) -> None:
    assert number(metric(**fields), datatype, (), {}) == (value, "")


@pytest.mark.parametrize(
    ("datatype", "fields", "words"),
    [
        (DataType.Double, {"double_value": float("nan")}, "nan"),
        (DataType.Float, {"float_value": float("inf")}, "inf"),
        (DataType.Double, {"string_value": "1"}, "without a floating-point value"),
        (DataType.Int32, {"double_value": 1.0}, "without an integer value"),
        (DataType.Boolean, {"int_value": 1}, "without a boolean value"),
        (DataType.String, {"string_value": "on"}, "a String is no number"),
        (DataType.Text, {"string_value": "on"}, "a Text is no number"),
        (DataType.UUID, {"string_value": "on"}, "a UUID is no number"),
        (DataType.Bytes, {"bytes_value": b"1"}, "a Bytes is no number"),
        (DataType.File, {"bytes_value": b"1"}, "a File is no number"),
        (DataType.StringArray, {"bytes_value": b"a\0"}, "a StringArray is no number"),
        (DataType.Unknown, {"int_value": 1}, "a Unknown is no number"),
        (99, {"int_value": 1}, "unknown datatype 99"),
    ],
)
def test_scalar_when_it_is_no_number_says_what_it_is(datatype: int, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(NoNumber, match=words):
        number(metric(**fields), datatype, (), {})


ARRAYS = {
    "Int8Array": "b", "Int16Array": "h", "Int32Array": "i", "Int64Array": "q", "UInt8Array": "B", "UInt16Array": "H",
    "UInt32Array": "I", "UInt64Array": "Q", "FloatArray": "f", "DoubleArray": "d", "DateTimeArray": "Q",
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_array_when_an_element_is_selected_is_that_element(name: str) -> None:
    one = metric(bytes_value=struct.pack(f"<3{ARRAYS[name]}", 1, 2, 100))
    assert number(one, DataType[name], (2,), {}) == (100.0, "")
    for select, words in (((3,), "has 3 elements"), ((), r"select = \[place\]"), (("a",), r"select = \[place\]")):
        with pytest.raises(NoNumber, match=words):
            number(one, DataType[name], select, {})


def test_array_when_of_booleans_is_read_from_the_highest_bit_down() -> None:
    # The example of the specification: [false, false, true, true, false, true, false, false, true, true, false, true]
    one = metric(bytes_value=bytes.fromhex("0c00000034d0"))
    bits = [number(one, DataType.BooleanArray, (place,), {})[0] for place in range(12)]
    assert bits == [0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1]
    for raw in (b"", b"\xff\xff\xff\xff\0", b"\x09\0\0\0\0"):
        with pytest.raises(NoNumber, match="a BooleanArray of"):
            number(metric(bytes_value=raw), DataType.BooleanArray, (0,), {})


def test_array_when_it_is_cut_off_says_so() -> None:
    with pytest.raises(NoNumber, match="no whole number of Int32 elements"):
        number(metric(bytes_value=b"\0" * 7), DataType.Int32Array, (0,), {})


def test_dataset_when_a_cell_is_selected_is_that_cell() -> None:
    data = {
        "columns": ["t", "on"],
        "types": [int(DataType.Int16), int(DataType.Boolean)],
        "rows": [{"elements": [{"int_value": 2**16 - 5}, {"boolean_value": True}]}],
    }
    one = metric(dataset_value=data)
    assert number(one, DataType.DataSet, (0, "t"), {}) == (-5.0, "")
    assert number(one, DataType.DataSet, (0, "on"), {}) == (1.0, "")
    for select, words in (((0, "x"), "no column 'x'"), ((1, "t"), "has 1 rows"), ((), "needs select")):
        with pytest.raises(NoNumber, match=words):
            number(one, DataType.DataSet, select, {})


def test_template_when_a_member_is_selected_is_that_member_and_takes_its_datatype_from_the_birth() -> None:
    birth = metric(template_value={"metrics": [{"name": "rpm", "datatype": int(DataType.Int8), "int_value": 1}]})
    data = metric(template_value={"metrics": [{"name": "rpm", "int_value": 0xFE}, {"name": "off", "is_null": True}]})
    assert number(data, DataType.Template, ("rpm",), members_of(birth)) == (-2.0, "")
    for select, words in ((("x",), "no member 'x'"), (("off",), "is null"), ((), "needs select")):
        with pytest.raises(NoNumber, match=words):
            number(data, DataType.Template, select, members_of(birth))
