from __future__ import annotations

import contextlib
import datetime
import math
import struct
from pathlib import Path
from typing import Any

import cbor2
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.mqtt.binary import protobuf_reader, raw_reader, read_cbor
from connectors.mqtt.config import JsonPaths, Protobuf, Raw, RawType
from connectors.mqtt.payload import Refused, Sample, read_sample
from schemas.base import Quality

PATHS = JsonPaths.model_validate({"value": "data.0.v", "time": "t", "sequence": "n", "quality": "q"})
NOW = datetime.datetime(2026, 11, 21, 7, 0, 0, 250_000, datetime.UTC)
MICROS = 1_795_244_400_250_000


def test_cbor_when_it_holds_a_sample_reads_it_with_its_own_time() -> None:
    raw = cbor2.dumps({"data": [{"v": 61.5}], "t": NOW, "n": 7, "q": "good"})
    assert read_sample(read_cbor(raw), PATHS) == Sample(61.5, MICROS, 7)


BOMBS = {
    "nested": b"\x81" * 100_000 + b"\x00",
    "array-of-2^60": b"\x9b\x10" + b"\0" * 7,
    "text-of-2^60": b"\x7b\x10" + b"\0" * 7,
    "decimal-exponent": b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    "cut-off": b"\xa1\x64",
    "empty": b"",
    "too-large": b"\x00" * 300_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_cbor_when_hostile_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        read_cbor(BOMBS[name])


def test_cbor_when_a_second_document_follows_is_refused_as_its_sample_would_be_lost() -> None:
    second = cbor2.dumps({"value": 2})
    with pytest.raises(Refused, match=f"{len(second)} bytes follow the CBOR document"):
        read_cbor(cbor2.dumps({"value": 1}) + second)


@given(st.binary(max_size=200))
@example(cbor2.dumps({"value": float("nan")}))
@example(cbor2.dumps({"value": 2**80}))
@example(b"\xd8\x1d\x00")
@example(b"\xd8\x1c\x81\xd8\x1d\x00")
def test_cbor_when_bytes_are_arbitrary_is_a_finite_sample_or_refused(raw: bytes) -> None:
    with contextlib.suppress(Refused):
        value = read_sample(read_cbor(raw), JsonPaths()).value
        assert value is None or math.isfinite(value)


CODES = dict(zip(RawType, "bBhHiIqQefd", strict=True))


@pytest.mark.parametrize("kind", RawType)
@pytest.mark.parametrize("order", ["big", "little"])
def test_raw_when_of_any_type_and_order_reads_the_number(kind: RawType, order: str) -> None:
    read = raw_reader(Raw.model_validate({"type": kind.value, "byte_order": order, "offset": 2}))
    packed = struct.pack((">" if order == "big" else "<") + CODES[kind], 42)
    assert read(b"\xff\xff" + packed + b"rest").value == 42.0
    with pytest.raises(Refused, match=f"{len(packed) + 1} bytes; a {kind.value} at byte 2 needs {len(packed) + 2}"):
        read(b"\xff\xff" + packed[:-1])


def test_raw_when_it_is_no_finite_number_is_refused() -> None:
    with pytest.raises(Refused, match="the value is nan"):
        raw_reader(Raw(type=RawType.FLOAT32))(struct.pack(">f", math.nan))


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A descriptor set as protoc writes it: plant.Sample with a nested, a repeated and an optional field."""
    files = FileDescriptorSet()
    file = files.file.add(name="plant.proto", package="plant", syntax="proto3")
    inner = file.message_type.add(name="Item")
    inner.field.add(name="v", number=1, type=FieldDescriptorProto.TYPE_DOUBLE, label=1)
    outer = file.message_type.add(name="Sample")
    outer.field.add(name="data", number=1, type=FieldDescriptorProto.TYPE_MESSAGE, label=3, type_name=".plant.Item")
    outer.field.add(name="t", number=2, type=FieldDescriptorProto.TYPE_INT64, label=1)
    outer.field.add(name="n", number=3, type=FieldDescriptorProto.TYPE_UINT32, label=1)
    path = tmp_path / "plant.desc"
    path.write_bytes(files.SerializeToString())
    return path


def test_protobuf_when_described_reads_the_sample_and_its_defaults(described: Path) -> None:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(described.read_bytes()).file:
        pool.Add(file)
    kind: Any = GetMessageClass(pool.FindMessageTypeByName("plant.Sample"))
    paths = JsonPaths.model_validate({"value": "data.1.v", "time": "t", "time_format": "us", "sequence": "n"})
    read = protobuf_reader(Protobuf(descriptor_file=described, message="plant.Sample"))
    message = kind(data=[{"v": 1.0}, {"v": 61.5}], t=MICROS)
    assert read_sample(read(message.SerializeToString()), paths) == Sample(61.5, MICROS, 0, quality=Quality.GOOD)
    with pytest.raises(Refused, match=r"field 'data.1.v' \(value\) is missing"):
        read_sample(read(kind(t=MICROS).SerializeToString()), paths)
    with pytest.raises(Refused, match=r"no plant.Sample"):
        read(b"\xff\xff")


@pytest.mark.parametrize(("message", "content"), [("plant.Other", None), ("plant.Sample", b"nonsense"), ("x", b"")])
def test_protobuf_when_the_file_does_not_hold_the_message_the_settings_are_refused(
    described: Path, message: str, content: bytes | None
) -> None:
    if content is not None:
        described.write_bytes(content)
    with pytest.raises(ValueError, match=r"plant.desc is no descriptor set that holds"):
        Protobuf(descriptor_file=described, message=message)
