from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.mqtt.config import JsonPaths, TimeFormat
from connectors.mqtt.payload import (
    ABSENT,
    LIMIT,
    Refused,
    Sample,
    find,
    read_json,
    read_number,
    read_sample,
    read_samples,
)
from schemas.base import EARLIEST_TIME, LATEST_TIME, Quality
from schemas.cloudevents import timestamp

PATHS = JsonPaths.model_validate({name: name for name in ("value", "time", "sequence", "quality", "unit")})
T = 1_795_244_400_250_000
GOOD = {"value": 61.5, "time": "2026-11-21T07:00:00.250Z", "sequence": 7}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def sample_of(raw: bytes, paths: JsonPaths) -> Sample:
    return read_sample(read_json(raw), paths)


def holds_to_the_contract(read: Callable[[bytes], Sample], raw: bytes) -> None:
    try:
        sample = read(raw)
    except Refused as refused:
        reason = str(refused)
    else:
        reason = ""
    if reason:
        assert len(reason) < 1000
        return
    assert sample.value is None or (math.isfinite(sample.value) and abs(sample.value) <= 1e18)
    assert sample.value is not None or sample.quality is Quality.BAD
    assert sample.time is None or EARLIEST_TIME <= sample.time < LATEST_TIME
    assert sample.sequence is None or 0 <= sample.sequence < 2**63
    assert sample.quality is Quality.GOOD or sample.reason


@given(st.binary(max_size=200))
@example(b"")
@example(b"NaN")
@example(b"1e999")
@example(b"\xff\xfe")
@example(b"[" * 100_000)
@example(b'{"value": 1' + b"0" * 6000 + b"}")
@example(b'{"value": 1, "sequence": 1, "time": 1' + b"0" * 6000 + b"}")
def test_payload_when_bytes_are_arbitrary_is_a_valid_sample_or_refused(raw: bytes) -> None:
    for paths in (PATHS, JsonPaths()):
        holds_to_the_contract(functools.partial(sample_of, paths=paths), raw)
    holds_to_the_contract(read_number, raw)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("value", "time", "sequence", "quality", "unit"), json_values)))
@example({**GOOD, "value": 10**4000})
@example({**GOOD, "time": 10**4000})
@example({**GOOD, "time": float("inf")})
@example({**GOOD, "time": 1.7e308})
def test_payload_when_json_is_arbitrary_is_a_valid_sample_or_refused(document: dict[str, object]) -> None:
    raw = json.dumps(document).encode()
    for time_format in TimeFormat:
        paths = PATHS.model_copy(update={"time_format": time_format})
        holds_to_the_contract(functools.partial(sample_of, paths=paths), raw)


@given(st.floats(-1e18, 1e18, allow_nan=False))
def test_payload_when_a_number_is_plain_or_json_it_is_read_exactly(number: float) -> None:
    assert read_number(f" {number!r}\n".encode()).value == number
    assert read_sample(read_json(json.dumps({"value": number}).encode()), JsonPaths()).value == number


@pytest.mark.parametrize("raw", [b"", b"nan", b"inf", b"-Infinity", b"1_000", b"0x10", b"1,5", b"12 MW", "١".encode()])
def test_payload_when_it_is_no_plain_number_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused, match="no plain number"):
        read_number(raw)


@given(st.integers(EARLIEST_TIME, LATEST_TIME - 1), st.integers(-14 * 60, 14 * 60))
def test_payload_when_the_same_time_is_written_in_any_format_it_is_the_same_time(time: int, offset: int) -> None:
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
    written = (
        local.astimezone(timezone(timedelta(minutes=offset))).isoformat() if local.year < 2099 else timestamp(time)
    )
    assert _time_of(written, TimeFormat.ISO8601) == time
    assert _time_of(time, TimeFormat.US) == time
    assert _time_of(time // 1000, TimeFormat.MS) == time // 1000 * 1000
    assert _time_of(time // 1_000_000, TimeFormat.S) == time // 1_000_000 * 1_000_000
    assert abs((_time_of(time / 1e6, TimeFormat.S) or 0) - time) <= 1


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo"])
)
@example(datetime(2026, 10, 25, 0, 30), "Europe/Berlin")
@example(datetime(2026, 10, 25, 1, 30), "Europe/Berlin")
@example(datetime(2026, 3, 29, 1, 0), "Europe/Berlin")
def test_payload_when_a_local_time_is_written_it_is_one_of_the_times_that_it_may_mean(
    moment: datetime, zone: str
) -> None:
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    written = moment.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat()
    paths = JsonPaths.model_validate({"time": "time", "zone": zone})
    sample = read_sample(read_json(json.dumps({**GOOD, "time": written}).encode()), paths)
    assert exact in (sample.time, sample.again)
    assert sample.again is None or sample.again - (sample.time or 0) == 3_600_000_000
    with_zone = read_sample(read_json(json.dumps({**GOOD, "time": f"{written}+05:00"}).encode()), paths)
    assert with_zone.again is None


def test_payload_when_the_clocks_leave_a_local_time_out_it_is_refused() -> None:
    paths = JsonPaths.model_validate({"time": "time", "zone": "Europe/Berlin"})
    with pytest.raises(
        Refused, match="2026-03-29 02:30:00 is none in Europe/Berlin: the clocks are put forward over it"
    ):
        read_sample(read_json(json.dumps({**GOOD, "time": "2026-03-29T02:30:00"}).encode()), paths)


def _time_of(written: object, time_format: TimeFormat) -> int | None:
    paths = PATHS.model_copy(update={"time_format": time_format})
    return read_sample(read_json(json.dumps({**GOOD, "time": written}).encode()), paths).time


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time": "1970-01-01T00:00:00Z"}, "outside the years 2000 to 2099"),
        ({"time": "2100-01-01T00:00:00Z"}, "outside the years 2000 to 2099"),
        ({"time": "2026-11-21T07:00:00"}, "no zone"),
        ({"time": "yesterday"}, "not ISO 8601"),
        ({"time": 1.5}, "expected a text"),
        ({"sequence": -1}, "expected an integer from 0"),
        ({"sequence": 2**63}, "expected an integer from 0"),
        ({"sequence": True}, "expected an integer from 0"),
        ({"sequence": 1.0}, "expected an integer from 0"),
        ({"value": "61.5"}, "expected a number"),
        ({"value": [1]}, "a list"),
        ({"value": 1e19}, "within ±1e18"),
        ({"unit": 3}, "expected a text"),
    ],
)
def test_payload_when_a_field_is_wrong_the_reason_names_what_is_allowed(change: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        read_sample(read_json(json.dumps({**GOOD, **change}).encode()), PATHS)


@pytest.mark.parametrize("missing", ["value", "time", "sequence"])
def test_payload_when_a_named_field_is_missing_is_refused(missing: str) -> None:
    document = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(Refused, match=f"{missing!r} .* is missing"):
        read_sample(read_json(json.dumps(document).encode()), PATHS)


@pytest.mark.parametrize(
    ("change", "value", "quality"),
    [
        ({}, 61.5, Quality.GOOD),
        ({"quality": "Good"}, 61.5, Quality.GOOD),
        ({"quality": True}, 61.5, Quality.GOOD),
        ({"quality": "bad"}, 61.5, Quality.BAD),
        ({"quality": False}, 61.5, Quality.BAD),
        ({"quality": "UNCERTAIN"}, 61.5, Quality.UNCERTAIN),
        ({"quality": "excellent"}, 61.5, Quality.UNCERTAIN),
        ({"quality": 192}, 61.5, Quality.UNCERTAIN),
        ({"value": None}, None, Quality.BAD),
        ({"value": True}, 1.0, Quality.GOOD),
        ({"value": 2**53 + 1}, float(2**53), Quality.UNCERTAIN),
    ],
)
def test_payload_when_quality_is_said_or_doubtful_it_is_kept(
    change: dict[str, object], value: float | None, quality: Quality
) -> None:
    sample = read_sample(read_json(json.dumps({**GOOD, **change}).encode()), PATHS)
    assert (sample.value, sample.quality, sample.time, sample.sequence) == (value, quality, T, 7)
    assert bool(sample.reason) == (quality is not Quality.GOOD)


def test_payload_when_the_sample_is_nested_follows_keys_and_list_places() -> None:
    paths = JsonPaths.model_validate({"value": "data.1.v", "unit": "meta.unit"})
    sample = read_sample(read_json(b'{"data": [{"v": 1}, {"v": 2}], "meta": {"unit": "MW"}}'), paths)
    assert (sample.value, sample.unit) == (2.0, "MW")
    for missing in ("data.2.v", "data.x.v", "data.-1.v", "data.1.v.w"):
        with pytest.raises(Refused, match="missing"):
            read_sample(read_json(b'{"data": [{"v": 1}, {"v": 2}]}'), JsonPaths.model_validate({"value": missing}))


def test_payload_when_it_is_huge_is_refused_before_it_is_parsed() -> None:
    raw = b'{"value": 1, "note": "' + b"x" * LIMIT + b'"}'
    with pytest.raises(Refused, match=f"{len(raw)} bytes"):
        read_sample(read_json(raw), JsonPaths())
    with pytest.raises(Refused, match="bytes"):
        read_number(b"1" * (LIMIT + 1))


DOCUMENT = {
    "values": [{"id": "u1.soc", "v": 61.5}, {"id": 7, "v": 3}],
    "meta": {"a.b": 1},
    "list": [[1, 2], 5],
    "many": [{"n": 10**5000}],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("values", "id=u1.soc", "v"), 61.5),
        (("values", "id=7", "v"), 3),
        (("values", "id=8", "v"), ABSENT),
        (("values", "id=", "v"), ABSENT),
        (("many", "n=1"), ABSENT),
        (("values", "1", "v"), 3),
        (("values", "2", "v"), ABSENT),
        (("values", "v"), ABSENT),
        (("meta", "a.b"), 1),
        (("list", "0", "1"), 2),
        (("list", "id=5"), ABSENT),
        (("meta", "a.b", "c"), ABSENT),
    ],
)
def test_find_when_steps_are_keys_places_and_choices_gives_what_stands_there(
    path: tuple[str, ...], expected: object
) -> None:
    assert find(DOCUMENT, path) == expected


@given(json_values, st.lists(st.text(max_size=4) | st.sampled_from(["0", "id=1", "=", "²"]), max_size=4))
def test_find_when_document_and_path_are_arbitrary_never_fails(document: object, path: list[str]) -> None:
    find(document, tuple(path))


def test_payload_when_it_has_several_values_each_is_read_or_refused_by_itself() -> None:
    points = [
        (name, JsonPaths.model_validate({"value": f"data.{name}", "sequence": "n"}))
        for name in ("soc", "power", "flow")
    ]
    assert read_samples({"data": {"soc": 61.5, "power": "much"}, "n": 7}, points)[0] == ("soc", Sample(61.5, None, 7))
    (_, (name, refused)) = read_samples({"data": {"soc": 61.5, "power": "much"}, "n": 7}, points)
    assert (name, "'data.power' (value) is 'much'" in str(refused)) == ("power", True)
    with pytest.raises(Refused, match=r"no point's value is in it; looked for 'data.soc', 'data.power', 'data.flow'"):
        read_samples({"data": {}, "n": 7}, points)
