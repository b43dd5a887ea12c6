from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from schemas import topics
from schemas.alerts import Alert, AlertKind
from schemas.intents import Intent
from schemas.limits import Limit
from schemas.positions import Position
from schemas.rules import Rule
from schemas.telemetry import Telemetry
from streams.commands.justify import prove


def open_inputs(day, decision):
    """The records at the coordinates of the evidence, as Kafka would give them back."""
    return [day.record_at(one.at) for one in decision.evidence.inputs]


def alert_of(day, kind: AlertKind, decided_by: str) -> Alert:
    return next(a for a in day.driver.records(topics.alerts) if a.kind is kind and a.evidence.decided_by == decided_by)


def test_prove_when_breach_is_real_adds_the_positions_up_above_the_level(memory_day):
    breach = alert_of(memory_day, AlertKind.BREACH_OPENED, "limit:oil-gross")

    proofs = prove(breach, open_inputs(memory_day, breach), True)

    assert [proof.holds for proof in proofs] == [True, True]
    assert "adds up to 2.0328 MUSD, above the hard level 2 MUSD" in proofs[1].text


def test_prove_when_a_position_says_less_refutes_the_breach(memory_day):
    breach = alert_of(memory_day, AlertKind.BREACH_OPENED, "limit:oil-gross")
    smaller = [
        msgspec.structs.replace(record, market_value=record.market_value / 2)
        if isinstance(record, Position)
        else record
        for record in open_inputs(memory_day, breach)
    ]

    assert prove(breach, smaller, True)[-1].holds is False


def test_prove_when_another_version_of_the_limit_is_opened_refutes(memory_day):
    breach = alert_of(memory_day, AlertKind.BREACH_OPENED, "limit:oil-gross")
    other = [
        msgspec.structs.replace(record, version=4) if isinstance(record, Limit) else record
        for record in open_inputs(memory_day, breach)
    ]

    proof = prove(breach, other, True)[0]
    assert proof.holds is False
    assert "opened in version 4; the decision names version 3" in proof.text


def test_prove_when_an_input_is_gone_leaves_the_sum_undecided(memory_day):
    breach = alert_of(memory_day, AlertKind.BREACH_OPENED, "limit:oil-gross")

    assert prove(breach, open_inputs(memory_day, breach)[:-1], False)[-1].holds is None


def test_prove_when_rule_fired_holds_every_condition_against_the_samples(memory_day):
    fired = alert_of(memory_day, AlertKind.RULE_FIRED, "rule:wind-short")

    proofs = prove(fired, open_inputs(memory_day, fired), True)

    assert all(proof.holds for proof in proofs)
    texts = "\n".join(proof.text for proof in proofs)
    assert "wind-1/output_mw below 80 % of wind-1/forecast_mw: 31.2 against 48" in texts
    assert "held for 2 s, at least the 2 s of the rule" in texts


def test_prove_when_a_sample_does_not_meet_the_condition_refutes(memory_day):
    fired = alert_of(memory_day, AlertKind.RULE_FIRED, "rule:wind-short")
    higher = [
        msgspec.structs.replace(record, value=55.0)
        if isinstance(record, Telemetry) and record.point == "output_mw"
        else record
        for record in open_inputs(memory_day, fired)
    ]

    assert False in [proof.holds for proof in prove(fired, higher, True)]


def test_prove_when_rule_was_cleared_names_the_condition_that_no_longer_holds(memory_day):
    memory_day.now += 1_000_000
    memory_day.tick("WTI", 110.0)
    memory_day.sample("wind-1", "forecast_mw", 60.0)
    memory_day.sample("wind-1", "output_mw", 59.0)
    memory_day.settle()
    cleared = alert_of(memory_day, AlertKind.RULE_CLEARED, "rule:wind-short")

    proofs = prove(cleared, open_inputs(memory_day, cleared), True)

    assert [proof.holds for proof in proofs] == [True, True]
    assert "no longer true: wind-1/output_mw below 80 % of wind-1/forecast_mw: 59 against 48" in proofs[1].text


def test_prove_when_breach_closed_adds_up_to_no_more_than_the_closing_level(memory_day):
    memory_day.now += 1_000_000
    memory_day.tick("WTI", 90.0)
    memory_day.settle()
    closed = alert_of(memory_day, AlertKind.BREACH_CLOSED, "limit:oil-gross")

    proofs = prove(closed, open_inputs(memory_day, closed), True)

    assert [proof.holds for proof in proofs] == [True, True]


def test_prove_when_order_was_let_through_checks_price_and_quantity_against_the_intent(memory_day):
    order = memory_day.driver.records(topics.orders)[0]
    inputs = open_inputs(memory_day, order)
    intent = next(record for record in inputs if isinstance(record, Intent))

    proofs = prove(order, [*inputs, *open_inputs(memory_day, intent)], True)

    assert {proof.holds for proof in proofs} == {True}
    assert any("the limit price 110.5 is within 0.5 of the mark 110" in proof.text for proof in proofs)


@pytest.mark.parametrize("change", [{"quantity": Decimal(9)}, {"limit_price": 999.0}])
def test_prove_when_order_is_not_what_was_wanted_refutes(memory_day, change):
    order = memory_day.driver.records(topics.orders)[0]

    proofs = prove(msgspec.structs.replace(order, **change), open_inputs(memory_day, order), True)

    assert False in [proof.holds for proof in proofs]


def test_prove_when_intent_differs_from_the_rules_action_refutes(memory_day):
    intent = next(i for i in memory_day.driver.records(topics.intents) if i.evidence.decided_by == "rule:wind-short")
    inputs = open_inputs(memory_day, intent)

    assert all(proof.holds for proof in prove(intent, inputs, True))
    changed = msgspec.structs.replace(intent, quantity=Decimal(2000))
    assert prove(changed, inputs, True)[-1].holds is False


def test_prove_when_absence_is_claimed_compares_the_silence_with_the_rule(memory_day):
    rule = next(r for r in memory_day.driver.records(topics.rules) if r.rule_id == "wind-short")
    silent = msgspec.convert(
        {
            **msgspec.to_builtins(rule),
            "duration": 0,
            "conditions": [
                {
                    "operand": {"source": "telemetry", "device": "battery-1", "point": "soc"},
                    "comparison": "absent",
                    "within": 10_000_000,
                }
            ],
        },
        Rule,
        strict=False,
    )
    sample = next(r for r in memory_day.driver.records(topics.telemetry) if r.device == "battery-1")
    fired = alert_of(memory_day, AlertKind.RULE_FIRED, "rule:wind-short")
    late = msgspec.structs.replace(fired, receive_time=sample.receive_time + 12_000_000)
    early = msgspec.structs.replace(fired, receive_time=sample.receive_time + 8_000_000)

    assert prove(late, [silent, sample], True)[-1].holds is True
    assert prove(early, [silent, sample], True)[-1].holds is False
