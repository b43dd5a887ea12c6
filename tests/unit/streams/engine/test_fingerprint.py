from __future__ import annotations

import enum
from decimal import Decimal

import msgspec
import pytest

from streams.engine.fingerprint import differences, shape_of
from streams.engine.identity import Mark
from streams.engine.ports import tables_of
from streams.pipeline import PROCESSORS


class Colour(enum.Enum):
    RED = "red"


class Colours(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(msgspec.Struct):
    size: int


class Tree(msgspec.Struct):
    name: str
    leaves: dict[str, Leaf]
    left: Tree | None = None


def struct(**fields):
    return msgspec.defstruct("Value", [(name, *spec) for name, spec in fields.items()])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (struct(a=(int,)), struct(a=(int,)), []),
        (struct(a=(int,)), struct(a=(int,), b=(str, "")), []),
        (struct(a=(int,)), struct(a=(int,), b=(str,)), ["value.b is needed and was not written"]),
        (struct(a=(int,), b=(str,)), struct(a=(int,)), ["value.b is gone"]),
        (struct(a=(int,)), struct(a=(float,)), ['value.a.type was "integer", is "number"']),
        (struct(a=(Decimal,)), struct(a=(str,)), ['value.a: format was "decimal", is null']),
        (struct(a=(Colour,)), struct(a=(Colours,)), []),
        (struct(a=(Leaf,)), struct(a=(msgspec.defstruct("Leaf", [("size", str)]),)), ["value.a.size.type"]),
        (int, str, ['value.type was "integer", is "string"']),
    ],
)
def test_differences_when_a_type_changes_names_what_old_bytes_do_not_fit(old, new, says):
    found = differences(shape_of(old), shape_of(new))
    assert len(found) == len(says)
    assert all(text in line for text, line in zip(says, found, strict=True))


def test_differences_when_a_type_contains_itself_come_to_an_end():
    other = shape_of(Tree).replace('"integer"', '"string"')
    assert differences(shape_of(Tree), shape_of(Tree)) == []
    assert any(".size.type" in line for line in differences(shape_of(Tree), other))


def test_shape_when_asked_of_every_table_of_the_house_is_a_schema():
    for processor in PROCESSORS:
        for _, declared in tables_of(processor):
            assert "type" in shape_of(declared.value) or "$ref" in shape_of(declared.value)


def test_mark_when_written_is_read_back_and_anything_else_is_not():
    mark = Mark(12, 4, 3, "topic-id", "changelog-id")
    assert Mark.parse(str(mark) + "\0") == mark
    assert [Mark.parse(text) for text in (None, "", "12", "a 4 3 t c", "1 2 3")] == [None] * 5
