from __future__ import annotations

import io

import pytest
from confluent_kafka import Producer, TopicPartition
from rich.console import Console

from schemas import topics
from schemas.base import Coordinates
from schemas.positions import Position
from schemas.ticks import Tick
from streams.commands import ledger as ledgers
from streams.commands.errors import CommandError
from streams.commands.ledger import Ledger, Missing
from streams.commands.why import explain, render
from streams.engine.cluster import Cluster
from tests.topic import expire


def shown(explanation) -> str:
    out = io.StringIO()
    render(explanation, Console(file=out, width=160, no_color=True))
    return out.getvalue()


def test_explain_when_breach_is_asked_about_goes_down_to_tick_and_fill(day):
    explanation = explain(day.cluster, day.ids["breach"])

    records = [one.entry.record for one in explanation.decision.walk()]
    position = next(record for record in records if isinstance(record, Position))
    tick = next(record for record in records if isinstance(record, Tick))
    assert position.market_value == pytest.approx(12_000 * tick.mark) == pytest.approx(1_320_000.0)
    assert not explanation.missing
    assert not explanation.refuted
    text = shown(explanation)
    assert "decided by limit:oil-gross version 3" in text
    assert "✓ limit oil-gross was opened in version 3" in text
    assert "✓ gross of 1 positions adds up to 1.32 MUSD, above the hard level 1.2 MUSD" in text
    assert "oil-desk buy 12 000 WTI at 70.1 USD (fill opening-1, order order-of-opening-1)" in text
    assert "none is missing; nothing speaks against the decision" in text


@pytest.mark.parametrize("decision", ["fired", "order", "intent", "rejection"])
def test_explain_when_decision_came_from_a_rule_opens_rule_and_telemetry(day, decision):
    explanation = explain(day.cluster, day.ids[decision])

    assert not explanation.missing
    assert not explanation.refuted
    proofs = [proof for one in explanation.decision.walk() for proof in one.proofs]
    assert any(proof.holds and "of wind-1/forecast_mw" in proof.text for proof in proofs)
    origins = {day.cluster.bare(one.at.topic) for one in explanation.decision.walk()}
    assert {"rules", "telemetry"} <= origins


def test_explain_when_every_record_is_opened_it_is_the_one_at_those_coordinates(day):
    consumer = day.cluster.reader("check", fetch_wait_max_ms=10)
    for one in explain(day.cluster, day.ids["order"]).decision.walk():
        consumer.list_topics(one.at.topic, timeout=10)  # else librdkafka takes a second to find the leader
        consumer.assign([TopicPartition(one.at.topic, one.at.partition, one.at.offset)])
        message = consumer.poll(10)
        assert message.offset() == one.at.offset
        assert one.entry.topic.decode(message.value()) == one.entry.record
    consumer.close()


def test_explain_when_id_is_unknown_names_the_newest_ids(day):
    with pytest.raises(CommandError) as error:
        explain(day.cluster, "no-such-id\x1b[31m")

    text = str(error.value)
    assert "no-such-id" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 6
    assert day.ids["rejection"] in text


def test_explain_when_gridtape_never_ran_here_says_which_topics_are_missing(kafka):
    with pytest.raises(CommandError, match="has no topic nowhere-alerts"):
        explain(Cluster(kafka, prefix="nowhere"), "any")


def test_newest_first_when_id_lies_behind_many_windows_finds_it_and_reads_each_record_once(cluster, monkeypatch, day):
    monkeypatch.setattr(ledgers, "FIRST_WINDOW", 3)
    alert = day.until(topics.alerts, lambda one: one.alert_id == day.ids["breach"])
    raw = topics.alerts.encode(alert)
    producer = cluster.publisher()
    for number in range(100):
        value = raw if number == 5 else raw.replace(alert.alert_id.encode(), f"other-{number}".encode())
        producer.produce(cluster.named("alerts"), value, b"k", number % 4)
    assert producer.flush(10) == 0

    with Ledger(cluster) as ledger:
        windows = list(ledger.newest_first([topics.alerts]))
    ids = [entry.record.alert_id for window in windows for entry in window]

    assert len(windows) > 2
    assert sorted(ids) == sorted({*ids})
    assert len(ids) == 100
    assert max(entry.at.offset for entry in windows[-1]) < min(entry.at.offset for entry in windows[0])
    found = explain(cluster, alert.alert_id)
    assert found.found.at == Coordinates(topic=cluster.named("alerts"), partition=1, offset=1)
    assert all("is the topic prefix the same as then?" in one.problem for one in found.missing)


def test_open_when_record_was_never_committed_or_is_beyond_the_end_says_so(cluster):
    producer = cluster.publisher(transactional_id=cluster.named("aborts"))
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(cluster.named("ticks"), b"{}", b"WTI", 0)
    producer.flush(10)
    producer.abort_transaction(10)
    name = cluster.named("ticks")

    with Ledger(cluster) as ledger:
        with pytest.raises(Missing, match="never committed: nothing follows"):
            ledger.open(Coordinates(topic=name, partition=0, offset=0))
        with pytest.raises(Missing, match=rf"not there: {name}\[0\] ends at offset 2; was the topic made anew"):
            ledger.open(Coordinates(topic=name, partition=0, offset=77))
        with pytest.raises(Missing, match="has no partition 9"):
            ledger.open(Coordinates(topic=name, partition=9, offset=0))
        with pytest.raises(Missing, match="is no topic of this gridtape"):
            ledger.open(Coordinates(topic="elsewhere-ticks", partition=0, offset=0))


def test_open_when_record_expired_or_is_no_json_says_so(cluster):
    name = cluster.named("ticks")
    producer = Producer(cluster.common)
    for _ in range(3):
        producer.produce(name, b"\xff not json", b"WTI", 0)
    assert producer.flush(10) == 0
    expire(cluster.admin(), name, 0, 2)

    with Ledger(cluster) as ledger:
        with pytest.raises(Missing, match=rf"expired: {name}\[0\] now begins at offset 2"):
            ledger.open(Coordinates(topic=name, partition=0, offset=0))
        with pytest.raises(Missing, match="there, but not readable as Tick"):
            ledger.open(Coordinates(topic=name, partition=0, offset=2))


def test_explain_when_an_input_is_gone_says_so_and_leaves_the_proof_open(day, cluster):
    alert = day.until(topics.alerts, lambda one: one.alert_id == day.ids["breach"])
    moved = topics.alerts.encode(alert)
    for name in ("positions", "limits"):
        there, here = (f'"topic":"{tenant.named(name)}"'.encode() for tenant in (day.cluster, cluster))
        moved = moved.replace(there, here)
    producer = cluster.publisher()
    limit = next(one.at for one in alert.evidence.inputs if one.role == "limit")
    record = day.until(topics.limits, lambda one: True)
    producer.produce(cluster.named("limits"), topics.limits.encode(record), b"oil-gross", limit.partition)
    producer.produce(cluster.named("alerts"), moved, b"oil-desk")
    assert producer.flush(10) == 0

    explanation = explain(cluster, day.ids["breach"])

    assert [cluster.bare(one.at.topic) for one in explanation.missing] == ["positions"]
    assert not explanation.refuted
    text = shown(explanation)
    assert "ends at offset 0; was the topic made anew?" in text
    assert "the decision said: oil-desk WTI 12 000 bbl × 110 = 1.32 MUSD" in text
    assert "gross cannot be added up" in text
    assert "1 records behind it were read back from Kafka; 1 could not be" in text
