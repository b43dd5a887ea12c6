"""What if, asked of a day on a real Kafka."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from streams.commands.errors import CommandError
from streams.commands.replay import span_of
from streams.commands.suppose import as_json, show, suppose
from streams.replay.span import Span

LIMIT = {"limit_id": "oil-gross", "book": "oil-desk", "measure": "gross", "currency": "USD"}


@pytest.fixture
def ask(day, tmp_path):
    def asked(text: str, name: str = "other.toml", names=()):
        file = tmp_path / name
        file.write_text(text)
        return suppose(day.cluster, names, Span(), file)

    return asked


def kinds(answer) -> set[tuple[str, str, str]]:
    return {(c.kind, c.decision.topic, c.decision.id) for c in answer.changes}


def test_suppose_when_limit_is_higher_the_breach_is_gone(ask, day):
    answer = ask(json.dumps({"limits": [{**LIMIT, "soft": 1.4e6, "hard": 1.6e6}]}), "limits.json")
    assert answer.trustworthy
    assert {o.application for o in answer.outcomes} == {"limits", "gate"}
    assert ("gone", "alerts", day.ids["breach"]) in kinds(answer)
    assert {topic for _, topic, _ in kinds(answer)} == {"alerts"}, "the orders were of another book"
    out = io.StringIO()
    show(answer, Console(file=out, width=200, no_color=True))
    assert "limit:oil-gross does not decide so then" in out.getvalue()
    assert f"Under the hypothesis: 0 added, {len(answer.changes)} gone, 0 different." in out.getvalue()


def test_suppose_when_limit_is_as_it_was_nothing_changes(ask):
    told = "\n".join(f"{name} = {value!r}" for name, value in LIMIT.items())
    answer = ask(f"[[limits]]\n{told}\nsoft = 1000000.0\nhard = 1200000.0\n")
    assert answer.trustworthy
    assert answer.changes == []
    assert answer.made["alerts"] >= 1


def test_suppose_when_switch_was_engaged_the_order_is_refused(ask, day):
    answer = ask('[[control]]\nscope = "all"\nengaged = true\nreason = "drill"\nactor = "risk"\n')
    assert answer.trustworthy
    assert ("gone", "orders", day.ids["order"]) in kinds(answer)
    added = next(c for c in answer.changes if c.kind == "added")
    assert added.now.record.intent_id == day.ids["intent"]
    assert "drill" in added.reason
    told = json.loads(as_json(answer))
    assert told["problems"] == []
    assert {c["change"] for c in told["changes"]} == {"added", "gone", "different"}, "another reason for the rejection"


def test_suppose_when_rule_is_off_alert_intent_and_order_are_gone(ask, day):
    rule = 'rule_id = "wind-short"\nname = "off"\nactive = false\n'
    condition = '[[rules.conditions]]\noperand = {source = "price", instrument = "WTI"}\ncomparison = "above"\n'
    answer = ask(f"[[rules]]\n{rule}{condition}threshold = 50.0\n")
    assert answer.trustworthy
    assert [o.application for o in answer.outcomes][::2] == ["observations", "triggers", "arrival", "gate"]
    gone = {("gone", "alerts", day.ids["fired"]), ("gone", "intents", day.ids["intent"])}
    assert gone | {("gone", "orders", day.ids["order"])} <= kinds(answer)
    assert all(kind == "gone" for kind, _, _ in kinds(answer))


def test_suppose_when_it_cannot_be_says_why(ask, day, tmp_path):
    with pytest.raises(CommandError, match="fills are facts"):
        ask(
            '[[fills]]\nfill_id = "f"\norder_id = "o"\nbook = "b"\ninstrument = "WTI"\nside = "buy"\n'
            'quantity = "1"\nprice = "1"\ncurrency = "USD"\nvenue = "V"\n'
        )
    with pytest.raises(CommandError, match="supposes nothing"):
        ask("")
    switch = '[[control]]\nscope = "all"\nengaged = true\nreason = "drill"\nactor = "risk"\n'
    with pytest.raises(CommandError, match="none of the chosen applications reads control"):
        ask(switch, names=["positions"])
    with pytest.raises(CommandError, match="must be times"):
        suppose(day.cluster, [], span_of("3", None), tmp_path / "other.toml")
