"""What a hostile server says of lengths: refused before it is built."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import Primitives, variant_from_binary, variant_to_binary
from asyncua.ua.uaerrors import UaError

from connectors.opcua import bounds
from connectors.opcua.bounds import MOST_ELEMENTS, CutOff

bounds.install()
NOTHINGS, VARIANTS, BYTES, MOST = 0x80, 0x80 | ua.VariantType.Variant.value, 0x80 | ua.VariantType.Byte.value, 2**31 - 1
SHAPED = 0x40


def decoded(variant: bytes) -> object:
    """The value of a message that consists of ``variant``."""
    return bounds.struct_from_binary(ua.LiteralOperand, Buffer(variant)).Value.Value


def test_decoder_when_an_array_of_nothing_is_long_refuses_it_at_once():
    with pytest.raises(CutOff, match="2147483647 elements"):
        decoded(struct.pack("<Bi", NOTHINGS, MOST))
    assert decoded(struct.pack("<Bi", NOTHINGS, 3)) == [None, None, None]
    assert decoded(struct.pack("<Bi", NOTHINGS, -1)) is None


def test_decoder_when_many_arrays_of_nothing_are_long_together_refuses_the_message_and_takes_the_next():
    few = struct.pack("<Bi", NOTHINGS, MOST_ELEMENTS // 10)
    nine, ten = (struct.pack("<Bi", VARIANTS, count) + few * count for count in (9, 10))
    for _ in range(2):
        assert sum(len(one.Value) for one in decoded(nine)) == MOST_ELEMENTS // 10 * 9
        with pytest.raises(CutOff, match=f"at most {MOST_ELEMENTS} are taken in one message"):
            decoded(ten)


@dataclass
class Empty:
    """A structure of a server's own, as it is loaded."""


@dataclass
class Many:
    of: list[Empty] = field(default_factory=list)


def test_decoder_when_a_list_has_elements_without_bytes_refuses_it_at_once(monkeypatch):
    monkeypatch.setattr(ua, "Empty", Empty, raising=False)
    with pytest.raises(CutOff, match="a list of 2147483647 elements"):
        bounds.struct_from_binary(Many, Buffer(struct.pack("<ih", MOST, 0)))
    assert len(bounds.struct_from_binary(Many, Buffer(struct.pack("<i", 3))).of) == 3


def test_decoder_when_numbers_are_many_takes_more_of_them_but_not_all():
    most = MOST_ELEMENTS * 16
    assert len(decoded(struct.pack("<Bi", BYTES, most) + bytes(most))) == most
    with pytest.raises(CutOff, match=f"a list of {most + 16} elements"):
        decoded(struct.pack("<Bi", BYTES, most + 16) + bytes(most + 16))


def shaped(count: int, *dimensions: int) -> bytes:
    sizes = struct.pack(f"<i{len(dimensions)}i", len(dimensions), *dimensions)
    return struct.pack("<Bi", BYTES | SHAPED, count) + bytes(count) + sizes


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (shaped(1, *[1] * 16_000), "an array of 16000 dimensions; at most 32 are taken"),
        (shaped(0, 1_000_000, 0), "a list of 1000000 elements"),
        (struct.pack("<Bi", VARIANTS, 10) + shaped(0, 30_000, 0) * 10, "a list of 30000 elements"),
        (shaped(1), "cannot be read"),
    ],
)
def test_decoder_when_dimensions_promise_what_is_not_there_refuses_them(array, why):
    with pytest.raises(CutOff, match=why):
        decoded(array)
    assert decoded(shaped(6, 2, 3)) == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", ["String", "ByteString"])
def test_decoder_when_a_length_is_negative_does_not_go_back(kind):
    with pytest.raises(UaError, match="-4 bytes"):
        getattr(Primitives, kind).unpack(Buffer(struct.pack("<i", -4)))
    assert getattr(Primitives, kind).unpack(Buffer(struct.pack("<i", -1))) is None
    kept = ua.Variant(["a", "", None] if kind == "String" else [b"a", b"", None], ua.VariantType[kind])
    assert variant_from_binary(Buffer(variant_to_binary(kept))).Value == kept.Value


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        (struct.pack("<Bi", VARIANTS, 1) * 100_000, "recursion"),
        (struct.pack("<Bi", BYTES, 100), "Not enough data"),
        (b"", "what cannot be read as LiteralOperand"),
    ],
)
def test_decoder_when_a_message_cannot_be_read_says_what_it_was(variant, why):
    with pytest.raises(CutOff, match=why):
        decoded(variant)
