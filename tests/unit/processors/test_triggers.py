from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.observations import Observations
from processors.triggers import Triggers
from schemas import topics
from schemas.alerts import AlertKind, Severity
from schemas.base import Quality, Side
from schemas.gaps import Feed, GapReason
from schemas.rules import Comparison, TradeAction

BELOW, ABOVE, INSIDE, OUTSIDE, ABSENT = Comparison
FIRED, CLEARED = AlertKind.RULE_FIRED, AlertKind.RULE_CLEARED


@pytest.fixture
def field(desk):
    return desk(Observations, Triggers)


@pytest.fixture
def wind(field, make):
    """The rule of the README: output below 80 % of forecast for 3 minutes while the price is above 70."""
    field.send(
        make.rule(
            make.condition(make.point(), BELOW, relative_to=make.point("forecast_mw"), factor=0.8),
            make.condition(make.price_of(), ABOVE, 70.0),
            duration=180 * make.second,
            action=TradeAction(book="oil-desk", instrument="WTI", side=Side.BUY, quantity=Decimal(10), collar=0.5),
        )
    )
    return field


def kinds(field):
    return [alert.kind for alert in field.all(topics.alerts)]


def feed(field, make, at, output, forecast=60.0, price=71.35):
    """One round of data, with a few seconds between."""
    field.send(make.sample(forecast, at, "forecast_mw"), make.tick(mid=price, at=at), make.sample(output, at))


def simple(field, make, comparison=BELOW, threshold=50.0, **other):
    condition = {name: other.pop(name) for name in ("band", "within") if name in other}
    field.send(make.rule(make.condition(make.point(), comparison, threshold, **condition), **other))


def samples(field, make, *pairs):
    field.send(*(make.sample(value, at) for at, value in pairs))


def test_rule_when_all_conditions_held_for_the_duration_fires_once_with_proof_and_intent(wind, make):
    for at in range(0, 240, 30):
        feed(wind, make, at, 31.2)
    (alert,) = wind.all(topics.alerts)
    assert (alert.kind, alert.severity, alert.event_time) == (FIRED, Severity.WARNING, make.time(180))
    assert alert.message == (
        "for 180 s since 07:00:00Z: wind-1/output_mw 31.2 MW is below 80 % of wind-1/forecast_mw 60 MW = 48 MW; "
        "and price of WTI 71.35 is above 70"
    )
    assert (alert.device, alert.book, alert.instrument) == ("wind-1", "oil-desk", "WTI")
    found = {one.role: one for one in alert.evidence.inputs}
    assert wind.open(found["rule"].at, topics.rules).rule_id == "wind-short"
    assert wind.open(found["price"].at, topics.ticks).mark == 71.35
    # the forecast of 07:03:00 tips it; the newest output is then of 07:02:30
    for role, expected in (("telemetry", [150, 180]), ("telemetry at start", [0, 0])):
        times = [wind.open(o.at, topics.telemetry).event_time for o in alert.evidence.inputs if o.role == role]
        assert times == [make.time(at) for at in expected]
    (intent,) = wind.all(topics.intents)
    assert (intent.book, intent.side, intent.quantity, intent.collar) == ("oil-desk", Side.BUY, 10, 0.5)
    assert intent.evidence == alert.evidence
    assert intent.event_time == alert.event_time


def test_rule_when_one_condition_fails_between_starts_anew(wind, make):
    for at in range(0, 170, 30):
        feed(wind, make, at, 31.2)
    feed(wind, make, 170, 48.0)  # exactly 80 % is not below it
    for at in range(180, 360, 30):
        feed(wind, make, at, 31.2)
    assert kinds(wind) == []
    feed(wind, make, 360, 31.2)
    assert kinds(wind) == [FIRED]


def test_rule_when_it_no_longer_holds_is_cleared_and_may_fire_again(field, make):
    simple(field, make)
    samples(field, make, (0, 49), (1, 48), (2, 50), (3, 51), (4, 10))
    first, cleared, second = field.all(topics.alerts)
    assert (first.kind, cleared.kind, second.kind) == (FIRED, CLEARED, FIRED)
    assert (cleared.opened_by, cleared.severity) == (first.alert_id, Severity.INFO)
    assert "wind-1/output_mw 50 MW is no longer below 50 MW" in cleared.message
    assert len({alert.alert_id for alert in field.all(topics.alerts)}) == 3


@pytest.mark.parametrize(
    ("comparison", "course", "expected"),
    [
        (BELOW, [49.9, 50, 51.9, 52, 51], [True, True, True, False, False]),
        (ABOVE, [50.1, 50, 48.1, 48, 49], [True, True, True, False, False]),
        (INSIDE, [48, 52, 52.1, 47.9, 50], [True, True, False, False, True]),
        (OUTSIDE, [48, 52, 52.1, 47.9, 50], [False, False, True, True, False]),
    ],
)
def test_condition_when_it_has_a_band_uses_it_as_the_schema_says(field, make, comparison, course, expected):
    simple(field, make, comparison, band=2.0)
    active, found = False, []
    for at, value in enumerate(course):
        before = len(kinds(field))
        samples(field, make, (at, value))
        for kind in kinds(field)[before:]:
            active = kind is FIRED
        found.append(active)
    assert found == expected


def test_rule_when_in_cooldown_waits_for_its_end(field, make):
    simple(field, make, cooldown=60 * make.second)
    samples(field, make, (0, 1), (10, 99), (20, 1), (59, 1))
    assert kinds(field) == [FIRED, CLEARED]
    samples(field, make, (60, 1))
    assert kinds(field) == [FIRED, CLEARED, FIRED]


def test_rule_when_an_operand_is_stale_does_not_fire_and_starts_anew(wind, make):
    wind.send(make.sample(60.0, 0, "forecast_mw"), make.sample(31.2, 0))
    for at in range(0, 200, 20):
        wind.send(make.tick(mid=71.0, at=at))
    assert kinds(wind) == [], "telemetry of 07:00:00 says nothing about 07:03:00"
    feed(wind, make, 200, 31.2)
    feed(wind, make, 259, 31.2)
    assert kinds(wind) == []


def test_rule_when_its_only_operand_was_silent_for_too_long_starts_anew(field, make):
    simple(field, make, duration=100 * make.second, stale_after=30 * make.second)
    samples(field, make, (0, 1), (25, 1), (60, 1), (85, 1), (101, 1), (125, 1), (150, 1))
    assert kinds(field) == [], "it was unknown between 55 and 60"
    samples(field, make, (160, 1))
    assert kinds(field) == [FIRED]


@pytest.mark.parametrize("other", [{"quality": Quality.BAD}, {"value": None}])
def test_rule_when_a_sample_is_bad_neither_fires_nor_clears(field, make, other):
    simple(field, make)
    field.send(make.sample(**{"value": 1.0, **other}))
    assert kinds(field) == []
    samples(field, make, (1, 1))
    field.send(make.sample(**{"value": 99.0, "at": 2, **other}))
    assert kinds(field) == [FIRED], "a bad value does not say that it is over"
    samples(field, make, (3, 99))
    assert kinds(field) == [FIRED, CLEARED]


def test_rule_when_quality_is_uncertain_fires(field, make):
    simple(field, make)
    field.send(make.sample(1.0, quality=Quality.UNCERTAIN))
    assert kinds(field) == [FIRED]


def test_rule_when_the_feed_is_silent_starts_anew_but_over_a_hole_goes_on(field, make):
    simple(field, make, duration=20 * make.second)
    samples(field, make, (0, 1))
    field.send(make.gap("wind-1", at=10, feed=Feed.TELEMETRY, reason=GapReason.SEQUENCE), make.sample(1.0, 10))
    samples(field, make, (20, 1))
    assert kinds(field) == [FIRED]
    samples(field, make, (21, 99), (30, 1))
    field.send(make.gap("wind-1", at=40, feed=Feed.TELEMETRY), make.sample(1.0, 45))
    samples(field, make, (50, 1), (64, 1))
    assert kinds(field) == [FIRED, CLEARED]
    samples(field, make, (65, 1))
    assert kinds(field) == [FIRED, CLEARED, FIRED]


def test_rule_when_a_late_sample_comes_is_not_misled(field, make):
    simple(field, make)
    samples(field, make, (10, 99), (5, 1))
    assert kinds(field) == []


def test_rule_when_switched_off_or_changed_clears_and_starts_anew(field, make):
    simple(field, make)
    samples(field, make, (0, 1))
    simple(field, make, version=2, threshold=40.0)
    assert kinds(field) == [FIRED, CLEARED]
    assert "changed to version 2" in field.all(topics.alerts)[1].message
    samples(field, make, (1, 1))
    simple(field, make, version=3, threshold=40.0, active=False)
    samples(field, make, (2, 1))
    assert kinds(field) == [FIRED, CLEARED, FIRED, CLEARED]
    assert "switched off" in field.all(topics.alerts)[3].message


def test_rule_when_a_new_version_means_the_same_runs_on(field, make):
    simple(field, make)
    samples(field, make, (0, 1))
    simple(field, make, version=2, owner="somebody else")
    samples(field, make, (1, 1), (2, 99))
    assert kinds(field) == [FIRED, CLEARED]
    assert field.all(topics.alerts)[1].evidence.version == 2


def test_absence_when_nothing_comes_within_fires_by_the_clock_and_a_sample_clears_it(field, make):
    simple(field, make, ABSENT, None, within=10 * make.second)
    samples(field, make, (0, 1), (5, 1))
    field.driver.advance(make.time(14))
    assert kinds(field) == []
    field.driver.advance(make.time(15))
    (alert,) = field.all(topics.alerts)
    assert alert.message == "wind-1/output_mw absent for 10 s, last received 07:00:05Z"
    assert field.open(alert.evidence.inputs[1].at, topics.telemetry).event_time == make.time(5)
    samples(field, make, (16, 1))
    assert kinds(field) == [FIRED, CLEARED]
    field.driver.advance(make.time(26))
    assert kinds(field) == [FIRED, CLEARED, FIRED]


def test_absence_when_the_task_crashed_meanwhile_fires_still_and_once(desk, make):
    field = desk(Observations, Triggers, partitions=4)
    simple(field, make, ABSENT, None, within=10 * make.second)
    samples(field, make, (0, 1))
    field.driver.crash()
    field.driver.advance(make.time(60))
    field.driver.advance(make.time(120))
    assert kinds(field) == [FIRED]


def test_absence_when_a_device_never_sent_is_armed_by_the_gap_of_its_silence(field, make):
    simple(field, make, ABSENT, None, within=10 * make.second)
    field.driver.advance(make.time(100))
    assert kinds(field) == []
    field.send(make.gap("wind-1", at=101, feed=Feed.TELEMETRY))
    field.driver.advance(make.time(112))
    (alert,) = field.all(topics.alerts)
    assert "nothing was ever received" in alert.message
    assert alert.evidence.inputs[1].at.topic == "gaps"


def test_absence_when_it_must_last_and_another_condition_hold_fires_by_the_clock(field, make):
    field.send(
        make.rule(
            make.condition(make.point(), ABSENT, within=10 * make.second),
            make.condition(make.price_of(), ABOVE, 70.0),
            duration=20 * make.second,
        )
    )
    field.send(make.sample(1.0, 0), make.tick(mid=71.0, at=9))
    field.driver.advance(make.time(10))
    field.driver.advance(make.time(29))
    assert kinds(field) == []
    field.driver.advance(make.time(30))
    assert kinds(field) == [FIRED]


def test_observation_when_the_rule_is_read_later_is_remembered(desk, make):
    field = desk(Triggers)
    source = desk(Observations)
    rule = make.rule(make.condition(make.point(), BELOW, 50.0), make.condition(make.price_of(), ABOVE, 70.0))
    source.send(rule, make.sample(1.0), make.tick(mid=71.0, at=1))
    first, second = source.all(topics.observations)
    field.driver.publish(topics.observations, "wind-short|telemetry|wind-1|output_mw", first)
    field.driver.run()
    field.send(rule)
    field.driver.publish(topics.observations, "wind-short|price|WTI", second)
    field.driver.run()
    assert kinds(field) == [FIRED]


def test_rule_when_every_task_reads_it_fires_in_one(desk, make):
    field = desk(Observations, Triggers, partitions=4)
    for n in range(8):
        field.send(make.rule(make.condition(make.point(), BELOW, 50.0), rule_id=f"r-{n}"))
    samples(field, make, (0, 1))
    assert sorted(alert.evidence.decided_by for alert in field.all(topics.alerts)) == [f"rule:r-{n}" for n in range(8)]


def test_observation_when_bad_is_set_aside_and_the_next_is_judged(field, make):
    simple(field, make)
    field.driver.publish(topics.observations, "wind-short|x", value=b'{"rule_id": "wind-short"}')
    samples(field, make, (0, 1))
    assert [letter.topic for letter in field.dead] == ["observations"]
    assert kinds(field) == [FIRED]


course = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([1.0, 49.0, 51.0, 60.0, None])), min_size=1, max_size=40
)


@given(course, st.integers(0, 60), st.integers(0, 50), st.sets(st.integers(0, 39)))
def test_rule_when_any_course_is_run_agrees_with_a_reference_and_with_any_batching(
    desk, make, course, duration, cooldown, cuts
):
    """The reference walks the samples once with a rule without band: known, held since, fired, cooled down."""
    stale = 30
    times, samples = 0, []
    for step, value in course:
        times += step
        samples.append((times, value))
    expected = []
    since = fired = None
    last_fired = previous = None
    for at, value in samples:
        if value is None:
            since = None
            continue
        if previous is not None and at - previous > stale:
            since = None
        previous = at
        if value < 50:
            since = at if since is None else since
            cooled = last_fired is None or at >= last_fired + cooldown
            if not fired and at >= since + duration and cooled:
                expected.append((FIRED, at))
                fired, last_fired = True, at
        else:
            since = None
            if fired:
                expected.append((CLEARED, at))
                fired = False
    field = desk(Observations, Triggers)
    rule = {"duration": duration * make.second, "cooldown": cooldown * make.second, "stale_after": stale * make.second}
    simple(field, make, **rule)
    for number, (at, value) in enumerate(samples):
        field.driver.publish(topics.telemetry, "wind-1", make.sample(value, at))
        if number in cuts:
            field.driver.run()
            field.driver.crash()
    field.driver.run()
    assert [(alert.kind, (alert.event_time - make.t0) // make.second) for alert in field.all(topics.alerts)] == expected
