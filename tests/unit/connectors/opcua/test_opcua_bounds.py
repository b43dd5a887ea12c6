"""What a hostile server says of lengths that take no bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import Primitives, struct_from_binary, variant_from_binary, variant_to_binary
from asyncua.ua.uaerrors import UaError

from connectors.opcua import bounds

bounds.install()
NOTHINGS, MOST = 0x80, 2**31 - 1


def test_decoder_when_an_array_of_nothing_is_long_refuses_it_at_once():
    with pytest.raises(UaError, match="2147483647 elements"):
        variant_from_binary(Buffer(struct.pack("<Bi", NOTHINGS, MOST)))
    few = variant_from_binary(Buffer(struct.pack("<Bi", NOTHINGS, 3)))
    assert few.Value == [None, None, None]
    assert variant_from_binary(Buffer(struct.pack("<Bi", NOTHINGS, -1))).Value is None


@dataclass
class Empty:
    """A structure of a server's own, as it is loaded."""


@dataclass
class Many:
    of: list[Empty] = field(default_factory=list)


def test_decoder_when_a_list_has_more_elements_than_bytes_refuses_it_at_once(monkeypatch):
    monkeypatch.setattr(ua, "Empty", Empty, raising=False)
    with pytest.raises(UaError, match="a list of 2147483647 elements within 6 bytes"):
        struct_from_binary(Many, Buffer(struct.pack("<ih", MOST, 0)))
    assert len(struct_from_binary(Many, Buffer(struct.pack("<i", 3))).of) == 3


@pytest.mark.parametrize("kind", ["String", "ByteString"])
def test_decoder_when_a_length_is_negative_does_not_go_back(kind):
    with pytest.raises(UaError, match="-4 bytes"):
        getattr(Primitives, kind).unpack(Buffer(struct.pack("<i", -4)))
    assert getattr(Primitives, kind).unpack(Buffer(struct.pack("<i", -1))) is None
    kept = ua.Variant(["a", "", None] if kind == "String" else [b"a", b"", None], ua.VariantType[kind])
    assert variant_from_binary(Buffer(variant_to_binary(kept))).Value == kept.Value
