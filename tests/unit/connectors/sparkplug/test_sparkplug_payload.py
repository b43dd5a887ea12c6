from __future__ import annotations

import contextlib
import gzip
import math
import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.sparkplug import wire
from connectors.sparkplug.payload import (
    COMPRESSED,
    REBIRTH,
    DataType,
    Limits,
    Refused,
    decode,
    rebirth_request,
)
from connectors.sparkplug.simulator import double, encode, properties
from connectors.sparkplug.values import NoNumber, members_of, number

T = 1_795_244_400_250
LIMITS = Limits()
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.bin"))


def compressed(inner: bytes, algorithm: str = "DEFLATE", *, named: bool = True) -> bytes:
    pack = gzip.compress if algorithm == "GZIP" else zlib.compress
    message = wire.Payload(uuid=COMPRESSED, body=pack(inner))
    if named:
        message.metrics.add(name="algorithm", datatype=DataType.String, string_value=algorithm)
    raw: bytes = message.SerializeToString()
    return raw


def test_payload_when_decoded_says_what_was_encoded() -> None:
    raw = encode(7, [double("a", 1.5, alias=3, timestamp=T, properties=properties(engUnit="kW", Quality=192))], T)
    payload = decode(raw, LIMITS)
    (metric,) = payload.metrics
    assert (payload.timestamp, payload.seq) == (T, 7)
    assert (metric.name, metric.alias, metric.timestamp, metric.datatype) == ("a", 3, T, DataType.Double)
    assert (metric.quality, metric.unit, metric.is_null, metric.is_historical) == (192, "kW", False, False)


@pytest.mark.parametrize(("algorithm", "named"), [("DEFLATE", True), ("DEFLATE", False), ("GZIP", True)])
def test_payload_when_compressed_is_unpacked_and_keeps_its_number(algorithm: str, named: bool) -> None:
    payload = decode(compressed(encode(9, [double("a", 2.0)], T), algorithm, named=named), LIMITS)
    assert (payload.seq, [m.name for m in payload.metrics]) == (9, ["a"])


def nested(depth: int) -> bytes:
    """A template within a template within …: each level a length-delimited field 18 and 2."""
    raw = b""
    for _ in range(depth):
        raw = b"\x12" + varint(len(raw)) + raw
        raw = b"\x92\x01" + varint(len(raw)) + raw
    return b"\x12" + varint(len(raw)) + raw


def varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


HOSTILE = {
    "bytes; max_payload_bytes": b"\x12\x00" * 600_000,
    "more than 20000 metrics": b"\x12\x00" * 30_000,
    "more than 1000 fields": b"\x08\x01" * 30_000,
    "more than 20000 metrics (max": compressed(b"\x12\x00" * 20_001),
    "unpacked it is more than": compressed(b"\0" * 50_000_000),
    "cut off": wire.Payload(uuid=COMPRESSED, body=zlib.compress(b"\0" * 99)[:-6]).SerializeToString(),
    "within a compressed one": compressed(compressed(encode(1, [], T))),
    "cannot be unpacked": wire.Payload(uuid=COMPRESSED, body=b"nonsense").SerializeToString(),
    "expected DEFLATE or GZIP": compressed(b"", "LZ4"),
    "not a Sparkplug B payload": nested(20_000),
    "not UTF-8": b"\x12\x04\x0a\x02\xff\xfe",
    "sequence number is 256": encode(256, [], T),
    "retained": encode(0, [], T),
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_payload_when_hostile_is_cut_off_with_a_named_reason(reason: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            decode(HOSTILE[reason], LIMITS, is_retained=reason == "retained")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reason in str(refused.value)
    assert peak < 16_000_000, "a bomb is not unpacked beyond what is allowed"


def test_payload_when_it_has_a_million_metrics_is_cut_off_before_they_are_built() -> None:
    with pytest.raises(Refused, match="more than 20000 metrics"):
        decode(b"\x12\x00" * 1_000_000, Limits(bytes=4_000_000))


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_payload_when_bytes_are_arbitrary_is_read_or_refused(raw: bytes) -> None:
    read_or_refuse(raw)


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_payload_when_a_good_one_is_damaged_is_read_or_refused(seed: int, damages: int) -> None:
    rng = random.Random(seed)
    metrics = [double(f"m{n}", n, alias=n, properties=properties(engUnit="kW", Quality=0)) for n in range(5)]
    raw = bytearray(encode(3, metrics, T))
    for _ in range(damages):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    read_or_refuse(bytes(raw[: rng.randrange(len(raw))]))
    read_or_refuse(compressed(bytes(raw)))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_payload_when_it_is_of_the_corpus_is_read_or_refused(path: Path) -> None:
    read_or_refuse(path.read_bytes())


def read_or_refuse(raw: bytes) -> None:
    for limits in (LIMITS, Limits(bytes=len(raw), metrics=2)):
        with contextlib.suppress(Refused):
            payload = decode(raw, limits)
            assert len(payload.metrics) <= limits.metrics
            assert payload.seq is None or 0 <= payload.seq <= 255
            for metric in payload.metrics:
                for select in ((), (0,), (0, "a"), ("a",)):
                    with contextlib.suppress(NoNumber):
                        value, _ = number(metric.raw, metric.datatype, select, members_of(metric.raw))
                        assert math.isfinite(value)


def test_rebirth_request_when_read_back_is_what_the_specification_wants() -> None:
    """tck-id-operational-behavior-data-commands-ncmd-rebirth-name, -value; tck-id-payloads-ncmd-seq, -timestamp."""
    payload = decode(rebirth_request(T), LIMITS)
    (metric,) = payload.metrics
    assert (payload.seq, payload.timestamp) == (None, T)
    assert (metric.name, metric.datatype, metric.raw.boolean_value) == (REBIRTH, DataType.Boolean, True)
