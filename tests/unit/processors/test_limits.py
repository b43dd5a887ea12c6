from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.breaches import NONE, judge
from processors.limits import SHOWN, Limits
from schemas import topics
from schemas.alerts import AlertKind, Severity
from schemas.base import Coordinates
from schemas.exposures import LimitState
from schemas.limits import Measure

OPENED, CLOSED = AlertKind.BREACH_OPENED, AlertKind.BREACH_CLOSED


@pytest.fixture
def risk(desk):
    return desk(Limits)


def told(risk):
    return [(alert.kind, alert.severity) for alert in risk.all(topics.alerts)]


def exposure(risk, key="oil-desk|USD"):
    return risk.latest(topics.exposures)[key]


def use(risk):
    (found,) = exposure(risk).limits
    return found


def test_exposure_when_positions_are_long_and_short_sums_gross_and_net(risk, make):
    risk.send(
        make.position("WTI", 10, 70.0, realised_pnl=Decimal("5.5"), fees=Decimal("0.5")),
        make.position("BRENT", -4, 75.0),
        make.position("GAS", 7, 3.0, currency="EUR"),
    )
    found = exposure(risk)
    assert (found.gross, found.net, found.positions) == (1000.0, 400.0, 2)
    assert (found.realised_pnl, found.fees, found.unrealised_pnl) == (5.5, 0.5, -20.0)
    assert exposure(risk, "oil-desk|EUR").gross == 21.0


def test_breach_when_soft_then_hard_are_exceeded_opens_each_once_and_closes_each(risk, make):
    risk.send(make.limit(soft=1000, hard=2000))
    for quantity in (10, 15, 16, 30, 31, 29, 28, 10, 9):
        risk.send(make.position("WTI", quantity, 100.0))
    # 2 % of hysteresis: hard closes at 1960 or less, soft at 980 or less
    opened, closed = [(OPENED, Severity.WARNING), (OPENED, Severity.CRITICAL)], [(CLOSED, Severity.INFO)] * 2
    assert told(risk) == [*opened, *closed]
    soft, hard, hard_closed, soft_closed = risk.all(topics.alerts)
    assert (hard_closed.opened_by, soft_closed.opened_by) == (hard.alert_id, soft.alert_id)
    assert use(risk).state is LimitState.WITHIN


def test_breach_when_the_jump_passes_both_levels_opens_the_hard_one_alone(risk, make):
    risk.send(make.limit(), make.position("WTI", 30, 100.0))
    assert told(risk) == [(OPENED, Severity.CRITICAL)]
    assert use(risk).state is LimitState.HARD
    risk.send(make.position("WTI", 15, 100.0))
    assert told(risk)[1:] == [(CLOSED, Severity.INFO), (OPENED, Severity.WARNING)]


def test_alert_when_opened_says_so_in_words_and_its_evidence_justifies_it(risk, make):
    risk.send(make.limit(soft=1_000_000, hard=1_200_000))
    risk.send(make.position("WTI", 12_000, 71.35), make.position("BRENT", -5_000, 81.16))
    (alert,) = risk.all(topics.alerts)
    assert alert.message == "oil-desk gross exposure 1.262 MUSD is above its hard limit 1.2 MUSD"
    assert (alert.evidence.decided_by, alert.evidence.version) == ("limit:oil-gross", 1)
    limit, *positions = alert.evidence.inputs
    assert risk.open(limit.at, topics.limits).hard == 1_200_000
    values = [risk.open(one.at, topics.positions).market_value for one in positions]
    assert sum(map(abs, values)) == 1_262_000.0
    assert positions[0].summary == "oil-desk WTI 12 000 bbl × 71.35 = 856 200 USD"


def test_alert_when_a_book_has_many_positions_names_the_largest(risk, make):
    names = [f"I{n:03}" for n in range(SHOWN + 10)]
    risk.send(make.limit(soft=1, hard=1e9))
    risk.send(*(make.position(name, n + 1, 0.01, book="b") for n, name in enumerate(names)))
    risk.send(make.limit("big", soft=1, hard=1e9, book="b"))
    alert = risk.all(topics.alerts)[-1]
    assert f"the {SHOWN} largest of {SHOWN + 10}" in alert.evidence.inputs[0].summary
    shown = [risk.open(one.at, topics.positions).instrument for one in alert.evidence.inputs[1:]]
    assert shown == names[: -SHOWN - 1 : -1]


@pytest.mark.parametrize("exceeded", [True, False])
def test_exposure_when_a_mark_is_unknown_neither_opens_nor_closes(risk, make, exceeded):
    risk.send(make.limit(), make.position("WTI", 15 if exceeded else 5, 100.0))
    before = told(risk)
    risk.send(make.position("WTI", 15, None))
    found = exposure(risk)
    assert (found.gross, found.net, found.unrealised_pnl, found.unknown) == (None, None, None, ["WTI"])
    assert (use(risk).used, use(risk).state) == (None, LimitState.UNKNOWN)
    risk.send(make.position("BRENT", 1000, 100.0))
    assert told(risk) == before, "silence is neither a breach nor its end"
    risk.send(make.position("WTI", 15, 10.0), make.position("BRENT", 0, None))
    assert exposure(risk).unknown == [], "a flat position needs no mark"
    assert [kind for kind, _ in told(risk)][-1:] == [CLOSED]


def test_limit_when_changed_is_held_against_the_book_at_once(risk, make):
    risk.send(make.limit(), make.position("WTI", 9, 100.0))
    assert told(risk) == []
    risk.send(make.limit(version=2, soft=500, hard=800))
    (alert,) = risk.all(topics.alerts)
    assert (alert.severity, alert.evidence.version) == (Severity.CRITICAL, 2)
    assert use(risk).version == 2
    risk.send(make.limit(version=3, soft=5000, hard=8000))
    assert told(risk)[-1] == (CLOSED, Severity.INFO)


@pytest.mark.parametrize(
    "other", [{"active": False}, {"book": "gas-desk"}, {"measure": Measure.NET, "instrument": "X"}, {"currency": "EUR"}]
)
def test_limit_when_switched_off_or_redefined_closes_its_breaches(risk, make, other):
    risk.send(make.limit(), make.position("WTI", 15, 100.0), make.position("WTI", 15, None))
    risk.send(make.limit(version=2, **other))
    opened, closed = risk.all(topics.alerts)
    assert (closed.kind, closed.opened_by) == (CLOSED, opened.alert_id)
    assert risk.open(closed.evidence.inputs[0].at, topics.limits).version == 2


def test_limit_when_on_one_instrument_ignores_the_others(risk, make):
    risk.send(make.limit(instrument="BRENT"), make.position("WTI", 99, 100.0), make.position("BRENT", 15, None))
    assert use(risk).state is LimitState.UNKNOWN
    risk.send(make.position("BRENT", -15, 100.0))
    (alert,) = risk.all(topics.alerts)
    assert (alert.severity, alert.instrument) == (Severity.WARNING, "BRENT")
    assert [one.role for one in alert.evidence.inputs] == ["limit", "position"]


def test_limit_when_on_loss_counts_realised_unrealised_and_fees(risk, make):
    risk.send(make.limit(measure=Measure.LOSS, soft=100, hard=200))
    risk.send(make.position("WTI", 10, 60.0, realised_pnl=Decimal(-50), fees=Decimal(1)))
    assert use(risk).used == 151.0
    assert told(risk) == [(OPENED, Severity.WARNING)]


def test_limit_when_other_tasks_read_it_too_alerts_once(desk, make):
    risk = desk(Limits, partitions=4)
    risk.send(*(make.position("WTI", 15, 100.0, book=f"desk-{n}") for n in range(8)))
    risk.send(*(make.limit(f"l-{n}", book=f"desk-{n}") for n in range(8)))
    assert sorted(alert.book for alert in risk.all(topics.alerts)) == [f"desk-{n}" for n in range(8)]


def test_position_when_under_a_foreign_key_is_a_dead_letter(risk, make):
    risk.driver.publish(topics.positions, "other|WTI", make.position())
    risk.driver.run()
    assert ["message key is 'other|WTI'" in letter.reason for letter in risk.dead] == [True]
    assert risk.all(topics.exposures) == []


def test_position_when_sums_leave_the_range_is_a_dead_letter(risk, make):
    risk.send(make.position("A", 10**9, 1e9, average=Decimal(0)), make.position("B", 10**9, 1e9, average=Decimal(0)))
    assert ["beyond 1e18" in letter.reason for letter in risk.dead] == [True]
    assert exposure(risk).gross == 1e18


positions = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "C"]),
        st.integers(-30, 30),
        st.one_of(st.none(), st.floats(-100, 100).map(lambda x: round(x, 2))),
        st.sampled_from(["USD", "EUR"]),
    ),
    min_size=1,
    max_size=25,
)


@given(positions, st.sets(st.integers(0, 24)), st.integers(0, 24))
def test_exposure_when_positions_change_equals_the_sum_anew_and_alerts_do_not_depend_on_batches(
    desk, make, positions, cuts, crash
):
    def play(cuts, crash):
        risk = desk(Limits)
        risk.send(make.limit(soft=500, hard=1000))
        for number, (name, quantity, mark, currency) in enumerate(positions):
            record = make.position(name, quantity, mark, currency=currency, event_time=make.time(number))
            risk.driver.publish(topics.positions, f"oil-desk|{name}", record)
            if number in cuts or number == crash:
                risk.driver.run()
            if number == crash:
                risk.driver.crash()
        risk.driver.run()
        return risk

    risk = play(cuts, crash)
    last = {name: rest for name, *rest in positions}
    for currency in {currency for *_, currency in positions}:
        held = [(q, m) for q, m, c in last.values() if c == currency and q]
        found = exposure(risk, f"oil-desk|{currency}")
        if any(mark is None for _, mark in held):
            assert found.gross is None
        else:
            assert found.gross == pytest.approx(sum(abs(q * m) for q, m in held), abs=1e-5)
            assert found.net == pytest.approx(sum(q * m for q, m in held), abs=1e-5)
    alone = play(set(range(25)), None)
    assert [a.alert_id for a in risk.all(topics.alerts)] == [a.alert_id for a in alone.all(topics.alerts)]
    opened = [a for a in risk.all(topics.alerts) if a.kind is OPENED]
    closed = [a.opened_by for a in risk.all(topics.alerts) if a.kind is CLOSED]
    assert len(set(closed)) == len(closed)
    assert set(closed) <= {a.alert_id for a in opened}


@given(
    st.lists(st.floats(0, 400), max_size=40),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0, 0.9),
)
def test_breach_when_a_measure_moves_keeps_its_promises(make, course, soft, more, hysteresis):
    limit = make.limit(soft=soft, hard=soft + more, hysteresis=hysteresis)
    breach = NONE
    for number, used in enumerate(course):
        before = breach
        breach, changes = judge(limit, before, used, Coordinates(topic="positions", partition=0, offset=number))
        if used > limit.hard:
            assert breach.hard
        if used > limit.soft:
            assert breach.soft or breach.hard, "above soft there is always an open alert"
        if used <= limit.soft * (1 - hysteresis):
            assert breach == NONE
        assert sum(change.kind is OPENED for change in changes) <= 1
        for change in changes:
            if change.kind is CLOSED:
                assert change.opened_by in (before.soft, before.hard)
        assert judge(limit, breach, used, Coordinates(topic="positions", partition=0, offset=999)) == (breach, [])
