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
                ],
            }
        )
    )


def read(translator: Translator, document: dict[str, Any], *, retained: bool = False, at: int = T) -> Telemetry:
    raw = json.dumps(document).encode()
    return translator.translate("plants/battery-1/soc", raw, retained=retained, receive_time=at)[0]


def test_translate_when_the_payload_says_everything_keeps_its_times_and_its_id(translator: Translator) -> None:
    first = translator.translate("plants/battery-1/soc", json.dumps(SAMPLE).encode(), retained=False, receive_time=T)
    again = translator.translate(
        "plants/battery-1/soc", json.dumps(SAMPLE).encode(), retained=False, receive_time=T + 9
    )
    assert first[0] == Telemetry(
        device="battery-1", point="soc", value=61.5, unit="%", sequence=7, event_time=T, receive_time=T
    )
    assert first[1] == again[1] == f"battery-1/soc/{T}/7"
    assert again[0].receive_time == T + 9


def test_translate_when_the_payload_has_no_time_takes_the_receive_time_and_makes_the_id_of_it(
    translator: Translator,
) -> None:
    record, event_id, sequence = translator.translate("pipe/pressure", b"62.4", retained=False, receive_time=T)
    assert (record.device, record.point, record.value, record.unit) == ("pipeline-1", "pressure", 62.4, "bar")
    assert (record.event_time, event_id, sequence) == (T, f"pipe/pressure/{T}", None)


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
    plain, _, _ = translator.translate("pipe/pressure", b"62.4", retained=True, receive_time=T)
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
