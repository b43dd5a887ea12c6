"""The demonstration's verdict: every kind of event must be seen, and nothing else counts for it."""

from __future__ import annotations

from decimal import Decimal

from schemas import topics
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Side
from schemas.evidence import Evidence
from schemas.exposures import Exposure, LimitState, LimitUse
from schemas.fills import Fill
from schemas.limits import Measure
from schemas.positions import MarkStatus, Position
from schemas.telemetry import Telemetry
from streams.demo.tally import EXPECTED, Tally

T = 1_795_000_000_000_000


def fill(fill_id: str) -> Fill:
    return Fill(
        fill_id=fill_id,
        order_id="o",
        book="b",
        instrument="i",
        side=Side.BUY,
        quantity=Decimal(1),
        price=Decimal(1),
        currency="USD",
        venue="v",
        event_time=T,
        receive_time=T,
    )


def position(fills: int) -> Position:
    return Position(
        book="b",
        instrument="i",
        currency="USD",
        quantity=Decimal(fills),
        average_price=Decimal(1),
        realised_pnl=Decimal(0),
        fees=Decimal(0),
        fills=fills,
        mark=None,
        mark_status=MarkStatus.NONE,
        market_value=None,
        unrealised_pnl=None,
        marked_by=None,
        booked_by=None,
        event_time=T,
        receive_time=T,
    )


def alert(kind: AlertKind) -> Alert:
    return Alert(
        alert_id=f"a-{kind}",
        kind=kind,
        severity=Severity.INFO,
        title="",
        message="",
        evidence=Evidence(decided_by="rule:r", version=1, inputs=[]),
        event_time=T,
        receive_time=T,
    )


def test_tally_when_new_misses_everything() -> None:
    tally = Tally(T)

    assert tally.missing == list(EXPECTED)
    assert all(line.startswith("MISSING") for line in tally.lines()[:-1])


def test_telemetry_when_counted_is_told_apart_by_its_connector() -> None:
    tally = Tally(T)
    sample = Telemetry(device="d", point="p", value=1.0, unit="MW", sequence=1, event_time=T, receive_time=T)

    tally.take(topics.telemetry, "d", sample, "/gridtape/connectors/modbus")

    assert "telemetry over modbus" not in tally.missing
    assert "telemetry over mqtt" in tally.missing


def test_position_when_seen_for_the_first_time_is_no_change() -> None:
    tally = Tally(T)

    tally.take(topics.positions, "b|i", position(1), "")
    assert "position changes" in tally.missing
    tally.take(topics.positions, "b|i", position(1), "")
    assert "position changes" in tally.missing
    tally.take(topics.positions, "b|i", position(2), "")
    assert "position changes" not in tally.missing


def test_position_when_changed_before_the_run_is_no_change_of_it() -> None:
    tally = Tally(T + 1)

    tally.take(topics.positions, "b|i", position(1), "")
    tally.take(topics.positions, "b|i", position(2), "")
    assert "position changes" in tally.missing


def test_fill_when_it_is_an_opening_position_is_no_trade() -> None:
    tally = Tally(T)

    tally.take(topics.fills, "i", fill("opening-gas-1"), "")
    assert "fills" in tally.missing
    tally.take(topics.fills, "i", fill("order-1/fill"), "")
    assert "fills" not in tally.missing


def test_alerts_when_closing_count_neither_as_breach_nor_as_trigger() -> None:
    tally = Tally(T)

    tally.take(topics.alerts, "b", alert(AlertKind.BREACH_CLOSED), "")
    tally.take(topics.alerts, "b", alert(AlertKind.RULE_CLEARED), "")
    assert {"breaches", "triggers"} <= set(tally.missing)
    tally.take(topics.alerts, "b", alert(AlertKind.BREACH_OPENED), "")
    tally.take(topics.alerts, "b", alert(AlertKind.RULE_FIRED), "")
    assert not {"breaches", "triggers"} & set(tally.missing)
    assert tally.first_alert == "a-breach-closed"
    assert tally.last_alert == "a-rule-fired"


def exposure(state: LimitState, time: int) -> Exposure:
    use = LimitUse(
        limit_id="l", version=1, measure=Measure.GROSS, instrument=None, used=1.0, soft=1.0, hard=2.0, state=state
    )
    figures = dict.fromkeys(("gross", "net", "unrealised_pnl", "realised_pnl", "fees"), 0.0)
    return Exposure(
        book="b", currency="USD", positions=1, unknown=[], limits=[use], event_time=time, receive_time=time, **figures
    )


def test_breach_when_it_is_open_since_an_earlier_run_counts_once() -> None:
    tally = Tally(T)

    tally.take(topics.exposures, "b|USD", exposure(LimitState.SOFT, T - 1), "")
    tally.take(topics.exposures, "b|USD", exposure(LimitState.WITHIN, T), "")
    assert "breaches" in tally.missing
    tally.take(topics.exposures, "b|USD", exposure(LimitState.SOFT, T), "")
    tally.take(topics.exposures, "b|USD", exposure(LimitState.HARD, T), "")
    assert tally.seen["breaches"] == 1
