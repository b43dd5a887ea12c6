"""Conformance of every record: what is written can be read back, and obeys its published schema."""

from __future__ import annotations

import enum
import json
import string
import types
import typing
from decimal import Decimal
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect as shapes

from schemas import topics
from schemas.base import EARLIEST_TIME, Coordinates, exact, finite, key_of, route_of
from schemas.device_settings import DeviceChange, DeviceSection, DeviceSettings
from schemas.generate import record_schema
from schemas.limits import Limit
from schemas.rules import Comparison, Condition

LETTERS = string.ascii_letters + string.digits


def of(kind: shapes.Type) -> st.SearchStrategy[Any]:
    """Values of a msgspec type, with its constraints."""
    match kind:
        case shapes.Metadata():
            return of(kind.type)
        case shapes.IntType():
            least = kind.ge if kind.ge is not None else -(2**63)
            return st.integers(
                least, kind.lt - 1 if kind.lt is not None else kind.le if kind.le is not None else 2**63 - 1
            )
        case shapes.FloatType():
            top = kind.le if kind.le is not None else None
            return st.floats(
                kind.ge, top if top is not None else kind.lt, allow_nan=False, exclude_max=kind.lt is not None
            )
        case shapes.StrType() if kind.pattern == r"^[A-Z]{3}$":
            return st.text(string.ascii_uppercase, min_size=3, max_size=3)
        case shapes.StrType() if kind.pattern == r"^[0-9a-f]{32}$":
            return st.text("0123456789abcdef", min_size=32, max_size=32)
        case shapes.StrType() if kind.pattern is not None and kind.pattern.startswith("^(all|"):
            return st.one_of(st.just("all"), st.text(LETTERS, min_size=1, max_size=9).map(lambda name: f"book:{name}"))
        case shapes.StrType() if kind.pattern is not None:
            return st.from_regex(kind.pattern, fullmatch=True).filter(
                lambda text: len(text) <= (kind.max_length or 200)
            )
        case shapes.StrType():
            return st.text(st.characters(exclude_categories=["Cs"]), min_size=kind.min_length or 0, max_size=20)
        case shapes.BoolType():
            return st.booleans()
        case shapes.VarTupleType():
            return st.lists(of(kind.item_type), max_size=3).map(tuple)
        case shapes.BytesType():
            return st.binary(max_size=50)
        case shapes.NoneType():
            return st.none()
        case shapes.DecimalType():
            return st.decimals(Decimal("0.01"), Decimal(10**9), places=2)
        case shapes.EnumType():
            return st.sampled_from(list(kind.cls))
        case shapes.UnionType():
            return st.one_of([of(one) for one in kind.types])
        case shapes.ListType():
            return st.lists(of(kind.item_type), min_size=kind.min_length or 0, max_size=3)
        case shapes.StructType():
            return st.fixed_dictionaries({f.name: of(f.type) for f in kind.fields}).flatmap(
                lambda f: built(kind.cls, f)
            )
    raise AssertionError(f"no strategy for {kind}")


def built(cls: type, fields: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The record, or nothing where its own rules refuse the combination."""
    if cls is Limit:
        fields["soft"], fields["hard"] = sorted((fields["soft"], fields["hard"]))
    if cls is Condition:
        absent = fields["comparison"] is Comparison.ABSENT
        fields["within"] = max(1, fields["within"])
        fields["threshold"] = None if absent else 1.5
        fields["relative_to"] = None
    if cls is DeviceSettings:
        wanted = fields["change"] is DeviceChange.SET
        fields["section"], fields["settings"] = (DeviceSection.MODBUS, "port = 1") if wanted else (None, "")
    return st.just(cls(**fields))


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
@given(data=st.data())
def test_record_when_written_and_read_back_is_the_same_obeys_its_schema_and_may_grow(topic, data):
    record = data.draw(of(shapes.type_info(topic.record)))
    raw = topic.encode(record)
    assert topic.decode(raw) == record
    assert topic.encode(topic.decode(raw)) == raw
    jsonschema.validate(json.loads(raw), record_schema(topic))
    later = {**json.loads(raw), "a_field_of_a_newer_writer": [1, {"x": 2}]}
    assert topic.decode(msgspec.json.encode(later)) == record


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b"5", b'{"a":\xff}', b"{}", b"{" * 5000, b'{"event_time":NaN}'], ids=repr
)
def test_record_when_the_bytes_are_none_is_refused_with_a_reason(topic, raw):
    with pytest.raises(ValueError, match=r".+"):
        topic.decode(raw)


@pytest.mark.parametrize("time", [0, EARLIEST_TIME - 1, 4_102_444_800_000_000, "2026-11-21", 1.5, None])
def test_record_when_a_time_is_not_of_this_century_is_refused(time):
    gap = {
        "gap_id": "g",
        "feed": "ticks",
        "key": "WTI",
        "reason": "silence",
        "open": True,
        "receive_time": EARLIEST_TIME,
    }
    topics.gaps.decode(json.dumps({**gap, "event_time": EARLIEST_TIME}).encode())
    with pytest.raises(msgspec.ValidationError, match="event_time"):
        topics.gaps.decode(json.dumps({**gap, "event_time": time}).encode())


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "sNaN"])
@pytest.mark.parametrize("field", ["quantity", "price", "fee"])
def test_fill_when_a_figure_is_no_finite_number_is_refused(word, field):
    fill = {
        "fill_id": "f",
        "order_id": "o",
        "book": "b",
        "instrument": "WTI",
        "side": "buy",
        "quantity": "1",
        "price": "1",
    }
    rest = {"currency": "USD", "venue": "V", "event_time": EARLIEST_TIME, "receive_time": EARLIEST_TIME}
    with pytest.raises(msgspec.ValidationError, match=field):
        topics.fills.decode(json.dumps({**fill, **rest, field: word}).encode())


@pytest.mark.parametrize("value", ["0", "-1", "NaN", "1E+10", "1E-10"])
@pytest.mark.parametrize("field", ["lot_size", "max_order_quantity"])
def test_instrument_when_a_size_is_out_of_range_is_refused(value, field):
    base = {"instrument": "WTI", "name": "x", "currency": "USD", "unit": "", "lot_size": "1", "max_order_quantity": "1"}
    rest = {"venue": "V", "event_time": EARLIEST_TIME, "receive_time": EARLIEST_TIME}
    with pytest.raises(msgspec.ValidationError, match=field):
        topics.instruments.decode(json.dumps({**base, **rest, field: value}).encode())


@given(st.text(LETTERS + "._-", min_size=1), st.integers(0, 2**31), st.integers(0, 2**62))
def test_coordinates_when_printed_are_parsed_back(topic, partition, offset):
    at = Coordinates(topic=topic, partition=partition, offset=offset)
    assert Coordinates.parse(str(at)) == at


@pytest.mark.parametrize("text", ["", "ticks", "ticks[1]", "ticks[x]@1", "ticks[1]@"])
def test_coordinates_when_they_are_none_say_what_is_expected(text):
    with pytest.raises(ValueError, match="expected topic\\[partition\\]@offset"):
        Coordinates.parse(text)


def test_numbers_when_not_finite_are_refused_by_name():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="pressure"):
            finite(value, "pressure")
    for text in ("NaN", "Infinity", "twelve"):
        with pytest.raises(ValueError, match="price"):
            exact(text, "price")
    assert (finite(1, "x"), exact("1.50", "x")) == (1.0, Decimal("1.50"))


def test_key_when_joined_gives_its_route_back():
    assert route_of(key_of("oil-desk", "WTI")) == "oil-desk"


def test_records_when_declared_are_frozen_and_document_themselves():
    def structs(cls: Any, seen: set[Any]) -> set[Any]:
        for hint in typing.get_type_hints(cls).values():
            stack = [hint]
            while stack:
                one = stack.pop()
                stack += [arg for arg in typing.get_args(one) if not isinstance(arg, (str, types.EllipsisType))]
                if isinstance(one, type) and issubclass(one, (msgspec.Struct, enum.Enum)) and one not in seen:
                    seen.add(one)
                    if issubclass(one, msgspec.Struct):
                        structs(one, seen)
        return seen

    for topic in topics.ALL:
        for cls in structs(topic.record, {topic.record}):
            assert cls.__doc__, cls
            if issubclass(cls, msgspec.Struct):
                assert cls.__struct_config__.frozen, cls
