from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.mqtt.config import MqttConfig
from connectors.mqtt.payload import Refused
from connectors.mqtt.translate import Translator
from schemas.base import Quality
from schemas.telemetry import Telemetry

T = 1_795_244_400_250_000
SAMPLE: dict[str, Any] = {"value": 61.5, "time": "2026-11-21T07:00:00.250Z", "sequence": 7}


@pytest.fixture
def translator() -> Translator:
    return Translator(
        MqttConfig.model_validate(
            {
                "host": "localhost",
                "devices": [{"name": "battery-1"}, {"name": "pipeline-1"}],
                "subscriptions": [
                    {
                        "filter": "plants/{device}/{point}",
                        "json": {"time": "time", "sequence": "sequence", "unit": "unit", "quality": "quality"},
                        "points": [{"name": "soc", "unit": "%", "range": {"minimum": 0, "maximum": 100}}],
                    },
                    {
                        "filter": "pipe/pressure",
                        "device": "pipeline-1",
                        "point": "pressure",
                        "payload": "number",
                        "points": [{"name": "pressure", "unit": "bar"}],
                    },
                    {
                        "filter": "stations/{device}",
                        "json": {"time": "ts", "time_format": "ms", "sequence": "n"},
                        "points": [
                            {"name": "soc", "unit": "%", "value": "battery.soc"},
                            {"name": "power", "unit": "MW", "value": ["values", "id=u1.p", "v"]},
                        ],
                    },
                    {
                        "filter": "buffered/{device}/{point}",
                        "each": "samples",
                        "json": {"time": "t", "time_format": "us", "sequence": "n"},
                        "points": [{"name": "soc", "unit": "%"}],
                    },
                    {
                        "filter": "local/{device}/{point}",
                        "json": {"time": "t", "zone": "Europe/Berlin"},
                        "points": [{"name": "soc", "unit": "%"}],
                    },
                    {
                        "filter": "meters/{device}",
                        "points": [
                            {"name": "in", "unit": "MW.h", "value": "in"},
                            {"name": "out", "unit": "MW.h", "value": "out"},
                        ],
                    },
                ],
                "status": [
                    {"filter": "plants/{device}/status", "online": ["online", "1"], "offline": ["offline", "0"]},
                    {
                        "filter": "pipe/state",
                        "device": "pipeline-1",
                        "path": "up",
                        "online": ["true"],
                        "offline": ["false"],
                    },
                ],
            }
        )
    )


def read(translator: Translator, document: dict[str, Any], *, retained: bool = False, at: int = T) -> Telemetry:
    raw = json.dumps(document).encode()
    return one(translator, "plants/battery-1/soc", raw, retained=retained, at=at)[0]


def one(
    translator: Translator, topic: str, raw: bytes, *, retained: bool = False, at: int = T
) -> tuple[Telemetry, str]:
    found = translator.translate(topic, raw, retained=retained, receive_time=at)
    ((record,),) = (said.records for said in found.said)
    assert not found.refused
    return record


def test_translate_when_the_payload_says_everything_keeps_its_times_and_its_id(translator: Translator) -> None:
    first = one(translator, "plants/battery-1/soc", json.dumps(SAMPLE).encode())
    again = one(translator, "plants/battery-1/soc", json.dumps(SAMPLE).encode(), at=T + 9)
    assert first[0] == Telemetry(
        device="battery-1", point="soc", value=61.5, unit="%", sequence=7, event_time=T, receive_time=T
    )
    assert first[1] == again[1] == f"battery-1/soc/{T}/7"
    assert again[0].receive_time == T + 9


def test_translate_when_the_payload_has_no_time_takes_the_receive_time_and_makes_the_id_of_it(
    translator: Translator,
) -> None:
    record, event_id = one(translator, "pipe/pressure", b"62.4")
    assert (record.device, record.point, record.value, record.unit) == ("pipeline-1", "pressure", 62.4, "bar")
    assert (record.event_time, event_id) == (T, f"pipe/pressure/{T}")
    assert translator.translate("pipe/pressure", b"62.4", retained=False, receive_time=T).said[0].sequence is None


@pytest.mark.parametrize(
    ("value", "quality"), [(100, Quality.GOOD), (100.5, Quality.UNCERTAIN), (-1, Quality.UNCERTAIN)]
)
def test_translate_when_the_value_is_out_of_range_keeps_it_and_doubts_it(
    translator: Translator, value: float, quality: Quality
) -> None:
    record = read(translator, {**SAMPLE, "value": value})
    assert (record.value, record.quality) == (value, quality)
    assert ("outside 0 to 100" in record.reason) == (quality is Quality.UNCERTAIN)


def test_translate_when_the_source_says_bad_a_doubt_does_not_make_it_better(translator: Translator) -> None:
    record = read(translator, {**SAMPLE, "value": 200, "quality": "bad"})
    assert (record.value, record.quality) == (200, Quality.BAD)
    assert "the source says bad" in record.reason
    assert "outside" in record.reason


def test_translate_when_retained_says_so_and_doubts_what_has_no_time_of_its_own(translator: Translator) -> None:
    timed = read(translator, SAMPLE, retained=True, at=T + 3_600_000_000)
    assert (timed.event_time, timed.quality, timed.reason) == (T, Quality.GOOD, "retained")
    plain, _ = one(translator, "pipe/pressure", b"62.4", retained=True)
    assert plain.quality is Quality.UNCERTAIN
    assert "retained" in plain.reason


def test_translate_when_the_source_clock_is_ahead_keeps_its_time_and_doubts_the_sample(translator: Translator) -> None:
    record = read(translator, SAMPLE, at=T - 61_000_000)
    assert (record.event_time, record.quality) == (T, Quality.UNCERTAIN)
    assert "61.0 s ahead" in record.reason
    assert read(translator, SAMPLE, at=T - 59_000_000).quality is Quality.GOOD


@pytest.mark.parametrize(
    ("topic", "document", "words"),
    [
        ("plants/battery-9/soc", SAMPLE, "unknown device 'battery-9'"),
        ("plants/battery-1/sco", SAMPLE, "unknown point 'sco'.*has soc"),
        ("elsewhere", SAMPLE, "no filter"),
        ("plants/battery-1/soc", {**SAMPLE, "unit": "kW"}, "unit is 'kW', but soc is configured in '%'"),
    ],
)
def test_translate_when_the_message_fits_nothing_known_is_refused(
    translator: Translator, topic: str, document: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        translator.translate(topic, json.dumps(document).encode(), retained=False, receive_time=T)


def test_translate_when_a_payload_has_several_values_each_becomes_a_record_of_the_same_time_and_number(
    translator: Translator,
) -> None:
    document = {"battery": {"soc": 61.5}, "values": [{"id": "u1.p", "v": -3}], "ts": T // 1000, "n": 7}
    found = translator.translate(
        "stations/battery-1", json.dumps(document).encode(), retained=False, receive_time=T + 9
    )
    (said,) = found.said
    assert (found.device, said.point, said.counter, said.sequence) == ("battery-1", None, "stations/{device}", 7)
    assert [(record.point, record.value, record.unit, record.event_time, record.sequence, identity)
            for record, identity in found.said[0].records] == [
        ("soc", 61.5, "%", T, 7, f"battery-1/soc/{T}/7"),
        ("power", -3.0, "MW", T, 7, f"battery-1/power/{T}/7"),
    ]  # fmt: skip


def test_translate_when_one_of_several_values_cannot_be_read_the_others_are(translator: Translator) -> None:
    document = {"battery": {"soc": "full"}, "values": [{"id": "u1.p", "v": -3}], "ts": T // 1000, "n": 7}
    found = translator.translate("stations/battery-1", json.dumps(document).encode(), retained=False, receive_time=T)
    assert [record.point for record, _ in found.said[0].records] == ["power"]
    assert found.refused == "soc: the field 'battery.soc' (value) is 'full', expected a number, true, false or null"
    document["values"] = []
    with pytest.raises(Refused, match="soc: the field"):
        translator.translate("stations/battery-1", json.dumps(document).encode(), retained=False, receive_time=T)


def test_translate_when_several_values_have_neither_time_nor_number_their_ids_differ(translator: Translator) -> None:
    found = translator.translate("meters/battery-1", b'{"in": 1, "out": 2}', retained=False, receive_time=T)
    assert [identity for _, identity in found.said[0].records] == [
        f"meters/battery-1/{T}/in",
        f"meters/battery-1/{T}/out",
    ]


def test_translate_when_a_payload_is_a_list_of_documents_each_is_read_as_if_it_had_come_alone(
    translator: Translator,
) -> None:
    samples = [{"value": 61 + n, "t": T + n, "n": n} for n in range(3)]
    samples[1]["value"] = "?"
    raw = json.dumps({"samples": [*samples, 5]}).encode()
    found = translator.translate("buffered/battery-1/soc", raw, retained=False, receive_time=T + 9)
    assert [(said.point, said.counter, said.sequence) for said in found.said] == [("soc", "", 0), ("soc", "", 2)]
    records = [record for said in found.said for record in said.records]
    assert [(record.value, record.event_time, identity) for record, identity in records] == [
        (61, T, f"battery-1/soc/{T}/0"), (63, T + 2, f"battery-1/soc/{T + 2}/2"),
    ]  # fmt: skip
    assert "the field 'value' (value) is '?'" in found.refused
    assert found.refused.endswith("; the field 'value' (value) is missing")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"samples": []}', "there is no document in the list"),
        (b'{"samples": {"value": 1}}', r"the field 'samples' \(each\) is an object, not a list"),
        (b'{"samples": [' + b"1," * 1000 + b"1]}", "1001 documents in 'samples'; a payload has at most 1000"),
        (b'{"samples": [' + b"1," * 999 + b"1]}", "is missing; and 995 more"),
        (b'{"values": []}', r"the field 'samples' \(each\) is missing, not a list"),
    ],
)
def test_translate_when_there_is_no_list_of_documents_the_payload_is_refused(
    translator: Translator, payload: bytes, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        translator.translate("buffered/battery-1/soc", payload, retained=False, receive_time=T)


@pytest.mark.parametrize("hour", [0, 1])
def test_translate_when_a_local_time_comes_twice_takes_the_nearer_one_and_doubts_it(
    translator: Translator, hour: int
) -> None:
    first = 1_792_888_200_000_000  # 2026-10-25T00:30:00Z, 02:30 in Berlin, which comes again an hour later
    meant = first + hour * 3_600_000_000
    raw = b'{"value": 61, "t": "2026-10-25T02:30:00"}'
    record, identity = one(translator, "local/battery-1/soc", raw, at=meant + 5_000_000)
    assert (record.event_time, record.quality, identity) == (meant, Quality.UNCERTAIN, f"battery-1/soc/{meant}/0")
    assert "its time comes twice" in record.reason


@pytest.mark.parametrize(
    ("topic", "payload", "device", "online"),
    [
        ("plants/battery-1/status", b"online", "battery-1", True),
        ("plants/battery-1/status", b"0", "battery-1", False),
        ("pipe/state", b'{"up": false}', "pipeline-1", False),
        ("pipe/state", b'{"up": true, "since": 3}', "pipeline-1", True),
    ],
)
def test_stated_when_the_topic_is_one_of_status_says_whether_the_device_is_there(
    translator: Translator, topic: str, payload: bytes, device: str, online: bool
) -> None:
    found = translator.stated(topic, payload)
    assert found is not None
    assert (found.device, found.online) == (device, online)


def test_stated_when_the_topic_is_one_of_values_says_nothing(translator: Translator) -> None:
    assert translator.stated("plants/battery-1/soc", b"offline") is None


@pytest.mark.parametrize(
    ("topic", "payload", "words"),
    [
        ("plants/battery-1/status", b"Offline", "'Offline', which is none of 'online', '1', 'offline', '0'"),
        ("plants/battery-1/status", b"", "the status is ''"),
        ("plants/battery-9/status", b"offline", "unknown device 'battery-9'"),
        ("pipe/state", b"offline", "not valid JSON"),
        ("pipe/state", b'{"down": true}', "the status is ''"),
        ("pipe/state", b'{"up": 1' + b"0" * 400 + b"}", "the status is ''"),
        ("pipe/state", b'{"up": [1]}', "the status is ''"),
    ],
)
def test_stated_when_the_words_mean_nothing_known_is_refused(
    translator: Translator, topic: str, payload: bytes, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        translator.stated(topic, payload)


SEVERAL = {"filter": "s/{device}", "points": [{"name": "a", "unit": "1", "value": "a"}]}


@pytest.mark.parametrize(
    ("section", "entry", "words"),
    [
        ("subscriptions", {**SEVERAL, "filter": "s/{device}/{point}"}, "named by it"),
        ("subscriptions", {**SEVERAL, "point": "a"}, "named by it"),
        ("subscriptions", {**SEVERAL, "payload": "number"}, "need payload"),
        ("subscriptions", {**SEVERAL, "each": "list"}, "each needs json.time"),
        ("subscriptions", {**SEVERAL, "json": {"zone": "UTC"}}, "it needs time, and time_format"),
        ("subscriptions", {**SEVERAL, "json": {"time": "t", "zone": "CEST+1"}}, "is no time zone"),
        ("subscriptions", {**SEVERAL, "json": {"value": "x"}}, "json.value is for filters with one value"),
        (
            "subscriptions",
            {**SEVERAL, "points": [*SEVERAL["points"], {"name": "b", "unit": "1"}]},
            "each point needs the path of its value, or none: b have none",
        ),
        ("subscriptions", {**SEVERAL, "points": [{"name": "a", "unit": "1", "value": "a..b"}]}, "keys joined by dots"),
        ("status", {"filter": "s/status"}, r"the filter must hold \{device\}, or else device must be set"),
        ("status", {"filter": "s/{device}/{point}"}, "a status is the device's"),
        ("status", {"filter": "s/{device}", "offline": ["online"]}, "online cannot mean both"),
        ("status", {"filter": "s/status", "device": "b9"}, r"status\[0\].device: 'b9' is not among the devices"),
    ],
)
def test_settings_when_several_values_or_a_status_do_not_fit_say_what_is_wrong(
    section: str, entry: dict[str, Any], words: str
) -> None:
    whole = {"host": "localhost", "devices": [{"name": "b1"}], "subscriptions": [SEVERAL], section: [entry]}
    with pytest.raises(ValueError, match=words):
        MqttConfig.model_validate(whole)
