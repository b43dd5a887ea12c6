"""Settings for what a broker brought: that they read it, all of it, and nothing else."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
import msgspec
import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import config
from connectors.capture.rehearsal import configured
from connectors.discovery.document import section
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.discovery.guess import Guess, guess
from connectors.mqtt.discovery.heard import Heard, Payload
from connectors.mqtt.discovery.settings import fill
from connectors.mqtt.payload import Refused
from connectors.mqtt.translate import Translator

NOW = 1_795_300_000_000_000
SECOND = 1_000_000


def heard(topic: str, *payloads: Any, retained: bool = False) -> Heard:
    """Payloads a second apart: bytes as they are, anything else as JSON."""
    raw = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in payloads]
    kept = tuple(Payload(NOW + place * SECOND, one, retained) for place, one in enumerate(raw))
    return Heard(topic, kept, 0 if retained else len(kept))


def written(found: Guess) -> MqttConfig:
    """The settings, as they are read from the file."""
    document = tomlkit.document()
    document.add("mqtt", section({"host": "127.0.0.1"}))
    fill(document["mqtt"], found, 10.0)
    loaded = config.check(tomllib.loads(tomlkit.dumps(document)), Path("plant.toml"))
    assert loaded.mqtt is not None
    return loaded.mqtt


def told(found: Guess) -> dict[str, str]:
    """Filter and device of each subscription."""
    return {one.filter: one.device for one in found.subscriptions}


def doc(n: int, **values: Any) -> dict[str, Any]:
    return {"ts": (NOW + n * SECOND) // 1000, "n": n, **values}


def test_guess_when_devices_are_alike_reads_them_with_one_filter():
    found = guess([heard(f"plants/{d}/{p}", b"1.5", b"2") for d in ("b-1", "b-2") for p in ("soc", "power")])
    assert told(found) == {"plants/{device}/{point}": ""}
    assert [one.name for one in written(found).devices] == ["b-1", "b-2"]


def test_guess_when_devices_differ_reads_each_with_a_filter_so_that_no_point_is_waited_for_in_vain():
    found = guess([heard("plants/b-1/soc", b"1"), heard("plants/b-1/power", b"1"), heard("plants/b-2/soc", b"1")])
    assert told(found) == {"plants/b-1/{point}": "b-1", "plants/b-2/soc": "b-2"}
    points = {(device, point) for device, point, _ in configured(config.Config(mqtt=written(found)))}
    assert points == {("b-1", "soc"), ("b-1", "power"), ("b-2", "soc")}


def test_guess_when_one_topic_is_text_leaves_it_out_of_every_filter():
    found = guess([heard("p/b/soc", b"1"), heard("p/b/power", b"1"), heard("p/b/firmware", b"v1.2")])
    assert told(found) == {"p/b/soc": "b", "p/b/power": "b"}
    assert [one.heard.topic for one in found.unread] == ["p/b/firmware"]


def test_guess_when_the_last_level_says_nothing_names_points_by_the_one_before():
    found = guess([heard(f"line/motor/{p}/value", b"1") for p in ("speed", "torque")])
    assert told(found) == {"line/motor/{point}/value": "motor"}


def test_guess_when_a_name_stands_below_several_places_sets_the_devices_apart():
    found = guess([heard(f"{line}/motor/temp", b"1") for line in ("line1", "line2")])
    assert found.devices.keys() == {"line1", "line2"}
    found = guess([heard(topic, b"1") for topic in ("line1/motor/t", "line2/motor/t", "line2/pump/t")])
    assert found.devices.keys() == {"line1/motor", "line2/motor", "pump"}


def test_guess_when_documents_have_several_values_finds_paths_time_and_sequence():
    documents = [
        doc(n, battery={"soc": 60.5}, values=[{"id": "u1.p", "v": 3, "unit": "kW"}, {"id": "u2.p", "v": n * n}])
        for n in range(4)
    ]
    found = guess([heard(f"stations/{d}/telemetry", *documents) for d in ("st-1", "st-2")])
    (one,) = written(found).subscriptions
    assert one.filter == "stations/{device}/telemetry"
    assert (one.json_paths.time, one.json_paths.time_format, one.json_paths.sequence) == (("ts",), "ms", ("n",))
    assert {(p.name, p.unit, p.value) for p in one.points} == {
        ("battery.soc", "1", ("battery", "soc")),
        ("u1.p", "kW", ("values", "id=u1.p", "v")),
        ("u2.p", "1", ("values", "id=u2.p", "v")),
    }


def test_guess_when_a_payload_has_a_list_of_samples_reads_each():
    lists = [{"dev": "a", "samples": [doc(3 * n + m, soc=m) for m in range(3)]} for n in range(3)]
    (one,) = written(guess([heard("kept/a", *lists)])).subscriptions
    assert (one.each, one.json_paths.time, [p.name for p in one.points]) == (("samples",), ("ts",), ["soc"])


@pytest.mark.parametrize(
    ("moment", "form"),
    [
        (lambda at: datetime.fromtimestamp(at / 1e6, UTC).isoformat(), "iso8601"),
        (lambda at: at / 1e6, "s"),
        (lambda at: at // 1000, "ms"),
        (lambda at: at, "us"),
    ],
)
def test_guess_when_a_field_is_a_time_near_now_reads_it_whatever_its_name(moment, form):
    documents = [{"soc": n, "when": moment(NOW + n * SECOND)} for n in range(3)]
    (one,) = written(guess([heard("d/x", *documents)])).subscriptions
    assert (one.json_paths.time, one.json_paths.time_format) == (("when",), form)
    assert [point.name for point in one.points] == ["soc"]


def test_guess_when_a_time_has_no_zone_does_not_read_it():
    naive = (datetime.fromtimestamp(NOW / 1e6, UTC) + timedelta(seconds=1)).replace(tzinfo=None).isoformat()
    found = guess([heard("d/x", {"soc": 1, "time": naive})])
    (one,) = written(found).subscriptions
    assert one.json_paths.time is None
    assert found.topics[0].form.hints == ("time is a time without a zone: json.time and json.zone would read it",)


def test_guess_when_parts_of_a_document_have_times_of_their_own_dates_none_by_that_of_another():
    documents = [{"soc": {"v": 5, "ts": doc(n)["ts"]}, "power": {"v": 6, "ts": doc(-n)["ts"]}} for n in range(1, 4)]
    found = guess([heard("d/x", *documents)])
    (one,) = written(found).subscriptions
    assert (one.json_paths.time, [point.name for point in one.points]) == (None, ["soc", "power"])
    assert "soc.ts and power.ts are the times of parts" in found.topics[0].form.hints[0]


def test_guess_when_only_a_part_has_what_looks_like_a_time_does_not_date_the_rest_by_it():
    documents = [{"power": n, "energy": {"total": n, "minute": NOW // 1_000_000}} for n in range(3)]
    (one,) = written(guess([heard("d/x", *documents)])).subscriptions
    assert (one.json_paths.time, [point.name for point in one.points]) == (None, ["power", "energy.total"])
    (one,) = written(guess([heard("d/x", *({"head": {"ts": doc(n)["ts"]}, "soc": n} for n in range(3)))])).subscriptions
    assert one.json_paths.time == ("head", "ts")


def test_guess_when_numbers_tell_the_objects_of_a_list_apart_finds_each_by_its_own_whatever_the_order():
    first, second = {"id": 1, "v": 10}, {"id": 2, "v": 20}
    found = guess([heard("d/x", {"strings": [first, second]}, {"strings": [second, first]})])
    (one,) = written(found).subscriptions
    assert [(p.name, p.value) for p in one.points] == [
        ("strings.1", ("strings", "id=1", "v")),
        ("strings.2", ("strings", "id=2", "v")),
    ]
    assert found.topics[0].form.hints == ()
    counted = [{"strings": [{"id": n, "v": 1}, {"id": n + 1, "v": 2}]} for n in range(3)]
    (one,) = written(guess([heard("d/x", *counted)])).subscriptions
    assert [p.value for p in one.points if p.value[-1] == "v"] == [("strings", "0", "v"), ("strings", "1", "v")]


def test_guess_when_a_number_is_too_long_to_be_written_out_does_not_write_it():
    found = guess([heard("d/x", cbor2.dumps({"l": [{"id": 10**5000, "v": 1}, {"id": 2, "v": 2}]}))])
    assert [point.path for point in found.topics[0].points] == [("l", "0", "v"), ("l", "1", "id"), ("l", "1", "v")]


def test_guess_when_objects_of_a_list_have_no_names_says_that_their_order_names_them():
    found = guess([heard("d/x", {"strings": [{"v": 1}, {"v": 2}], "raw": [1, 2]})])
    assert found.topics[0].form.hints == ("strings.0.v is found by its place in a list: is the order always the same?",)
    assert guess([heard("d/x", {"raw": [1, 2]})]).topics[0].form.hints == ()


def test_guess_when_a_value_grows_by_one_keeps_it_as_a_point_and_says_so():
    found = guess([heard("d/x", *({"uptime": n, "soc": 3} for n in range(5)))])
    (one,) = written(found).subscriptions
    assert one.json_paths.sequence is None
    assert {point.name for point in one.points} == {"uptime", "soc"}
    assert "uptime grew by 1" in found.topics[0].form.hints[0]


def test_guess_when_numbers_are_sometimes_or_always_texts_shows_what_came():
    found = guess([heard("d/x", {"a": 1}, {"a": "off"}), heard("d/y", {"a": "1"}), heard("d/z", b"1", b"--", b"2")])
    assert [(one.form.shown, one.why) for one in found.unread] == [
        ('{"a":"off"}', "no field that is always a number"),
        ('{"a":"1"}', "no field that is always a number"),
        ("--", "now number and now text"),
    ]


def test_guess_when_topics_say_online_reads_them_as_status_with_the_devices_capitals():
    found = guess(
        [
            *(heard(f"tele/{d}/SENSOR", doc(1, soc=3)) for d in ("a", "b")),
            *(heard(f"tele/{d}/LWT", b"Online", retained=True) for d in ("a", "b")),
            heard("tele/c/LWT", b"Offline", retained=True),
        ]
    )
    assert [(one.filter, one.device, one.online, one.offline) for one in found.states] == [
        ("tele/a/LWT", "a", "Online", "Offline"),
        ("tele/b/LWT", "b", "Online", "Offline"),
    ], "a wildcard would match that of c, which is no device of ours"
    written(found)


@pytest.mark.parametrize(
    ("topic", "payload", "pair"),
    [("d/b/status", b"1", ("1", "0")), ("d/b/online", b"false", ("true", "false")), ("d/b/x", b"UP", ("UP", "DOWN"))],
)
def test_guess_when_a_switch_is_kept_below_a_telling_name_is_a_status(topic, payload, pair):
    found = guess([heard("d/b/soc", b"1"), heard(topic, payload, retained=True)])
    assert [(one.online, one.offline) for one in written_states(found)] == [pair]


def written_states(found: Guess) -> list[Any]:
    written(found)
    return found.states


def test_guess_when_a_status_is_a_document_names_its_path():
    found = guess([heard("z/s1", {"t": 3.5}), heard("z/s1/availability", {"state": "offline"}, retained=True)])
    assert [(one.device, one.path) for one in found.states] == [("s1", ("state",))]


def test_guess_when_a_document_has_values_beside_its_state_reads_the_values():
    found = guess([heard("p/b", {"state": "online", "power": 3})])
    assert (found.states, [point.name for point in found.topics[0].points]) == ([], ["power"])


def test_guess_when_payloads_are_cbor_or_bytes_reads_the_maps_only():
    found = guess(
        [heard("c/x", cbor2.dumps({"v": 2})), heard("c/y", cbor2.dumps({"v": 2}) + b"\0"), heard("c/z", b"\xff\0")]
    )
    assert [one.payload for one in written(found).subscriptions] == ["cbor"]
    assert [one.heard.topic for one in found.unread] == ["c/y", "c/z"]


KEYS = st.sampled_from(
    ["value", "ts", "time", "n", "seq", "quality", "unit", "soc", "a.b", "id", "v", "x y", "é", "u", "data", "1", "{d}"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([NOW, NOW // 1000, NOW / 1e6, "2026-11-22T03:00:00Z", "good", "kW", "°C", "online", "a\nb"])
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
PAYLOADS = (
    st.sampled_from([b"1", b"0", b" 2.5 ", b"online", b"Offline", b"true", b"", b"NaN", b"\xff\x00", b"{", b"1e30"])
    | DOCUMENTS.map(msgspec.json.encode)
    | st.dictionaries(KEYS, DOCUMENTS | st.floats() | st.just(10**5000), max_size=3).map(cbor2.dumps)
    | st.binary(max_size=8)
)
LEVELS = st.sampled_from(
    ["a", "b", "status", "value", "data", "soc", "", "x y", "ü", "{device}", "+", "#", "$SYS", "b-1"]
)
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join)
BROUGHT = st.dictionaries(
    TOPICS, st.tuples(st.lists(PAYLOADS, min_size=1, max_size=4), st.booleans()), min_size=1, max_size=8
)


@given(BROUGHT, st.sampled_from([(), ("spBv1.0/g/NBIRTH/n",), ("a/b",)]))
@settings(max_examples=150)
def test_guess_when_anything_comes_makes_settings_that_read_just_that(
    brought: dict[str, Any], besides: tuple[str, ...]
) -> None:
    all_heard = [heard(topic, *raw, retained=kept) for topic, (raw, kept) in brought.items() if topic not in besides]
    found = guess(all_heard, besides)
    whole = len(found.topics) + len(found.stating) + len(found.unread)
    assert whole == len(all_heard)
    if not found.subscriptions:
        assert not found.topics
        return
    loaded = written(found)
    proposed = [(topic.device, point.name) for topic in found.topics for point in topic.points]
    assert len(set(proposed)) == len(proposed)
    assert {(device, point) for device, point, _ in configured(config.Config(mqtt=loaded))} == set(proposed)
    translator = Translator(loaded)
    for topic in found.topics:
        came = set()
        for one in topic.heard.payloads:
            if one.raw and not topic.form.bare:
                got = translator.translate(topic.heard.topic, one.raw, retained=one.retained, receive_time=one.at)
                assert (got.device, got.refused) == (topic.device, "")
                came |= {record.point for said in got.said for record, _ in said.records}
        assert topic.form.bare or came == {point.name for point in topic.points}
    for one, _ in found.stating:
        for payload in one.payloads:
            assert not payload.raw or translator.stated(one.topic, payload.raw) is not None
    for left in [*(one.heard.topic for one in found.unread), *besides]:
        assert translator.stated(left, b"1") is None
        with pytest.raises(Refused, match="no filter of the settings matches"):
            translator.translate(left, b"1", retained=False, receive_time=NOW)
