"""What if: nothing changes under what was in force; what changes, changes all the way down."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.base import Side
from schemas.limits import Measure
from schemas.rules import Comparison, TradeAction
from streams import pipeline
from streams.replay.span import Mark, Span
from streams.replay.suppose import HYPOTHETICAL, Supposition, affected
from streams.vocabulary import MemoryDriver
from tests.unit.processors.conftest import SECOND, T0, Make, key

make = Make()
WHOLE = Span(Mark(commit=1))


class Play:
    """The whole pipeline in memory, a second of recorded time between any two records."""

    def __init__(self, partitions: int = 1) -> None:
        self.driver = MemoryDriver(pipeline.PROCESSORS, partitions=partitions)
        self.driver.now = T0
        self.partitions = partitions

    def send(self, *records: Any) -> None:
        for record in records:
            topic = next(t for t in topics.ALL if isinstance(record, t.record))
            self.driver.publish(topic, key(record), record)
            self.driver.run()
            self.driver.advance(self.driver.now + SECOND)

    @property
    def at(self) -> float:
        return (self.driver.now - T0) / SECOND

    def reference(self, limits: list[Any]) -> None:
        action = TradeAction(book="oil-desk", instrument="WTI", side=Side.BUY, quantity=Decimal(10), collar=1.0)
        low = make.condition(make.point(), Comparison.BELOW, 40.0)
        self.send(
            make.instrument(),
            *limits,
            make.rule(low, rule_id="wind-short", action=action, duration=SECOND),
            make.switch(engaged=False),
            make.tick(mid=70.0, at=self.at),
        )

    def suppose(self, memory_store, records: dict[Any, list[Any]]) -> Supposition:
        told = {topic: {key(one): one for one in some} for topic, some in records.items()}
        found = Supposition(memory_store(self.driver), told, WHOLE, self.driver.now)
        for processor in affected(pipeline.PROCESSORS, set(told)):
            for partition in range(self.partitions):
                outcome = found.play(processor, partition)
                assert outcome.equal, outcome
        return found


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("price"), st.integers(60, 80)),
        st.tuples(st.just("wind"), st.integers(20, 60)),
        st.tuples(st.just("fill"), st.integers(1, 5)),
        st.tuples(st.just("gap"), st.just(0)),
    ),
    max_size=15,
)


LIMITS = [make.limit("oil-gross", 5000, 9000), make.limit("oil-net", 4000, 9500, measure=Measure.NET)]


def played(steps: list[tuple[str, int]], partitions: int = 1, limits: list[Any] = LIMITS) -> Play:
    play = Play(partitions)
    play.reference(limits)
    for number, (what, value) in enumerate(steps):
        if what == "price":
            play.send(make.tick(mid=float(value), at=play.at))
        elif what == "wind":
            play.send(make.sample(float(value), at=play.at))
        elif what == "fill":
            play.send(make.fill(number, quantity=value * 10))
        else:
            play.send(make.gap(at=play.at))
    return play


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from([1, 2]))
def test_supposition_when_it_is_what_was_in_force_changes_nothing(memory_store, steps, partitions):
    play = played(steps, partitions)
    driver = play.driver
    in_force = {
        topic: list(driver.latest(topic).values())
        for topic in (topics.limits, topics.rules, topics.control, topics.instruments)
    }
    found = play.suppose(memory_store, in_force)
    assert found.ledger.changes() == []
    letters = len(driver.dead_letters)
    decided = sum(len(driver.records(t)) for t in (topics.alerts, topics.intents, topics.orders, topics.rejections))
    assert sum(found.ledger.made.values()) == decided + letters


@settings(max_examples=40, deadline=None)
@given(STEPS, st.integers(1, 12), st.integers(0, 8))
def test_supposition_when_limits_are_others_is_what_a_run_under_them_would_have_been(memory_store, steps, soft, more):
    """Run it for real under the other limits from the beginning: the same alerts and answers, but for their ids."""
    play = played(steps)
    limits = [
        make.limit("oil-gross", soft * 1000, (soft + more) * 1000),
        make.limit("oil-net", 1e9, 1e9, measure=Measure.NET),
    ]
    found = play.suppose(memory_store, {topics.limits: limits})

    real = played(steps, limits=limits)
    for topic in (topics.alerts, topics.orders, topics.rejections):
        was = [essence(one) for one in play.driver.records(topic)]
        changes = [change for change in found.ledger.changes() if change.decision.topic == topic.name]
        for change in changes:
            if change.was is not None:
                was.remove(essence(change.was.record))
            if change.now is not None:
                was.append(essence(change.now.record))
        assert sorted(was) == sorted(essence(one) for one in real.driver.records(topic))


def essence(record: Any) -> str:
    """Without what names the records that stand elsewhere in the two runs."""
    names = ("kind", "severity", "title", "message", "book", "instrument", "side", "quantity")
    return str([str(getattr(record, name, None)) for name in names] + [c.reason for c in getattr(record, "checks", [])])


@pytest.fixture
def short() -> Play:
    """The wind was short for two seconds: an alert, an intent, an order."""
    play = Play()
    play.reference(LIMITS)
    for value in (30.0, 29.0, 28.0):
        play.send(make.tick(mid=70.0, at=play.at), make.sample(value, at=play.at))
    assert len(play.driver.records(topics.orders)) == 1
    return play


def test_supposition_when_switch_was_engaged_turns_the_order_into_a_rejection(memory_store, short):
    found = short.suppose(memory_store, {topics.control: [make.switch(reason="storm")]}).ledger.changes()
    gone, added = sorted(found, key=lambda change: change.kind, reverse=True)
    assert (gone.kind, gone.decision.topic) == ("gone", "orders")
    assert (added.kind, added.decision.topic) == ("added", "rejections")
    assert "storm" in added.reason
    assert gone.reason == f"refused: {added.reason}"


def test_supposition_when_rule_would_not_have_fired_goes_all_the_way_down(memory_store, short):
    lower = make.rule(make.condition(make.point(), Comparison.BELOW, 10.0), rule_id="wind-short")
    found = short.suppose(memory_store, {topics.rules: [lower]}).ledger.changes()
    assert {(change.kind, change.decision.topic) for change in found} == {
        ("gone", "alerts"),
        ("gone", "intents"),
        ("gone", "orders"),
    }
    order = next(change for change in found if change.decision.topic == "orders")
    assert order.reason == f"its intent {order.was.record.intent_id} is gone"


def test_supposition_when_rule_would_have_fired_makes_intent_order_and_alert(memory_store):
    play = played([("wind", 50), ("price", 70), ("wind", 49), ("price", 71)])
    assert play.driver.records(topics.orders) == []
    action = TradeAction(book="oil-desk", instrument="WTI", side=Side.BUY, quantity=Decimal(10), collar=1.0)
    condition = make.condition(make.point(), Comparison.BELOW, 55.0)
    higher = make.rule(condition, rule_id="wind-short", action=action, duration=SECOND)
    found = play.suppose(memory_store, {topics.rules: [higher]}).ledger.changes()
    assert [(change.kind, change.decision.topic) for change in found].count(("added", "alerts")) == 1
    order = next(change.now.record for change in found if change.decision.topic == "orders")
    priced = next(one for one in order.evidence.inputs if one.role == "priced intent")
    assert priced.at.offset >= HYPOTHETICAL, "no record in Kafka is named for one that never was"
    price = next(one for one in order.evidence.inputs if one.role == "price")
    assert price.at.offset < HYPOTHETICAL


def test_affected_when_asked_follows_the_flow():
    names = [p.name for p in affected(pipeline.PROCESSORS, {topics.rules})]
    assert names == ["observations", "triggers", "arrival", "gate"]
    assert [p.name for p in affected(pipeline.PROCESSORS, {topics.limits})] == ["limits", "gate"]
    assert [p.name for p in affected(pipeline.PROCESSORS, {topics.control})] == ["gate"]


def test_wiring_when_read_in_order_has_every_writer_before_its_readers():
    """The order in which a supposition plays the applications."""
    for number, processor in enumerate(pipeline.PROCESSORS):
        later = {topic for other in pipeline.PROCESSORS[number:] for topic in other.writes}
        assert not later.intersection(processor.reads), processor.name
