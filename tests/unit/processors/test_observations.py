from __future__ import annotations

import pytest

from processors.observations import Observations
from schemas import topics
from schemas.base import Quality
from schemas.gaps import Feed, GapReason
from schemas.rules import Comparison

BELOW, ABOVE = Comparison.BELOW, Comparison.ABOVE


@pytest.fixture
def field(desk, make):
    opened = desk(Observations)
    opened.send(
        make.rule(
            make.condition(make.point(), BELOW, relative_to=make.point("forecast_mw"), factor=0.8),
            make.condition(make.price_of(), ABOVE, 70.0),
        )
    )
    return opened


def seen(field):
    return field.all(topics.observations)


def test_sample_when_a_rule_names_its_point_is_passed_on_with_its_origin(field, make):
    field.send(make.sample(31.0, at=1), make.sample(99.0, point="other"), make.sample(60.0, point="forecast_mw"))
    first, second = seen(field)
    assert (first.rule_id, first.value, first.unit, first.event_time) == ("wind-short", 31.0, "MW", make.time(1))
    assert field.open(first.origin, topics.telemetry).value == 31.0
    assert second.operand.point == "forecast_mw"
    assert list(field.latest(topics.observations)) == [
        "wind-short|telemetry|wind-1|output_mw",
        "wind-short|telemetry|wind-1|forecast_mw",
    ]


def test_sample_when_two_rules_name_it_is_passed_to_both(field, make):
    field.send(make.rule(make.condition(make.point(), ABOVE, 1.0), rule_id="wind-high"), make.sample(31.0))
    assert [one.rule_id for one in seen(field)] == ["wind-high", "wind-short"]


def test_samples_when_in_one_batch_are_all_passed_on_but_of_prices_only_the_newest(field, make):
    field.send(*(make.sample(float(n), at=n) for n in range(3)), run=False)
    field.send(*(make.tick(mid=70.0 + n, at=n) for n in range(3)), run=False)
    assert [one.value for one in seen(field)] == [0.0, 1.0, 2.0, 72.0]


def test_price_when_an_older_tick_comes_later_is_not_passed_on(field, make):
    field.send(make.tick(mid=71.0, at=2), make.tick(mid=60.0, at=1))
    assert [one.value for one in seen(field)] == [71.0]


def test_price_when_a_tick_has_none_is_bad_and_without_value(field, make):
    field.send(make.tick(mid=None))
    (found,) = seen(field)
    assert (found.value, found.quality, found.gap) == (None, Quality.BAD, None)


def test_sample_when_the_clock_of_the_device_is_ahead_counts_from_when_it_was_received(field, make):
    field.send(make.sample(31.0, event_time=make.time(600), receive_time=make.time(1)))
    assert seen(field)[0].event_time == make.time(1)


@pytest.mark.parametrize("point", [None, "output_mw"])
def test_gap_when_open_takes_the_value_away(field, make, point):
    field.send(make.sample(31.0, at=1), make.gap("wind-1", at=5, feed=Feed.TELEMETRY, point=point))
    lost = seen(field)[1:]
    assert {one.operand.point for one in lost} == ({"output_mw", "forecast_mw"} if point is None else {point})
    assert all((one.value, one.quality, one.gap) == (None, Quality.BAD, GapReason.SILENCE) for one in lost)
    assert field.open(lost[0].origin, topics.gaps).gap_id == "g-5"


@pytest.mark.parametrize("feed", [Feed.FILLS, Feed.EVENTS])
def test_gap_when_of_a_feed_that_no_rule_reads_takes_no_value_away(field, make, feed):
    field.send(make.sample(31.0, at=1), make.gap("wind-1", at=5, feed=feed))
    assert [one.value for one in seen(field)] == [31.0]


def test_gap_when_closed_or_older_than_the_data_says_nothing(field, make):
    field.send(make.sample(31.0, at=5), make.sample(31.0, at=5, point="forecast_mw"))
    field.send(make.gap("wind-1", at=4, feed=Feed.TELEMETRY), make.gap("wind-1", at=9, feed=Feed.TELEMETRY, open=False))
    assert len(seen(field)) == 2


def test_gap_when_of_the_tick_feed_reaches_the_price_and_not_a_device_of_that_name(field, make):
    field.send(make.rule(make.condition(make.point(device="WTI"), ABOVE, 1.0), rule_id="odd"))
    field.send(make.gap("WTI", at=5))
    assert [(one.rule_id, one.operand) for one in seen(field)] == [("wind-short", make.price_of())]


def test_rule_when_switched_off_or_changed_no_longer_gets_what_it_does_not_name(field, make):
    field.send(make.rule(make.condition(make.price_of("BRENT"), ABOVE, 70.0), version=2))
    field.send(make.sample(31.0), make.tick(), make.tick("BRENT"))
    assert [one.operand for one in seen(field)] == [make.price_of("BRENT")]
    field.send(make.rule(make.condition(make.price_of("BRENT"), ABOVE, 70.0), version=3, active=False))
    field.send(make.tick("BRENT", at=1))
    assert len(seen(field)) == 1


def test_records_when_bad_are_set_aside_and_the_next_is_passed_on(field, make):
    field.driver.publish(topics.telemetry, "wind-1", value=b'{"device": "wind-1", "value": NaN}')
    field.driver.publish(topics.telemetry, "other", make.sample(99.0))
    field.driver.publish(topics.ticks, "WTI", make.tick(event_time=make.time(900)))
    field.send(make.sample(31.0, at=1))
    assert [letter.topic for letter in field.dead] == ["telemetry", "telemetry", "ticks"]
    assert [one.value for one in seen(field)] == [31.0]
