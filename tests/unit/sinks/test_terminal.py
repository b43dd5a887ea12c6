from __future__ import annotations

import io
import threading

import pytest
from msgspec.structs import replace
from rich.console import Console

from schemas import topics
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Coordinates
from schemas.evidence import Evidence, Input
from sinks.sink import Delivery, Unavailable
from sinks.terminal import Terminal

AT = Coordinates(topic="alerts", partition=0, offset=1)
ALERT = Alert(
    alert_id="oil-gross/ticks/3/1234",
    kind=AlertKind.BREACH_OPENED,
    severity=Severity.CRITICAL,
    title="oil is above its hard gross limit",
    message="used 1,250,000 of 1,000,000 USD",
    book="oil",
    evidence=Evidence(
        decided_by="limit:oil-gross",
        version=7,
        inputs=[
            Input(
                at=Coordinates(topic="ticks", partition=3, offset=1234),
                role="price",
                summary="WTI bid -36.99 ask -36.97",
            )
        ],
    ),
    event_time=1_790_000_000_250_000,
    receive_time=1_790_000_000_250_000,
)


def delivery(alert: Alert) -> Delivery:
    return Delivery(topics.alerts, alert, AT, "oil", {}, topics.alerts.encode(alert), 0)


def shown(alert: Alert) -> str:
    out = io.StringIO()
    Terminal(Console(file=out, width=60)).handle([delivery(alert)], threading.Event())
    return out.getvalue()


def test_terminal_when_an_alert_comes_shows_what_and_why():
    text = shown(ALERT)
    for part in (
        "2026-09-21 14:13:20.250Z",
        "CRITICAL",
        ALERT.title,
        ALERT.message,
        "limit:oil-gross version 7",
        "price",
        "ticks[3]@1234",
        "WTI bid -36.99 ask -36.97",
        f"gridtape why {ALERT.alert_id}",
    ):
        assert part in text


def test_terminal_when_text_holds_markup_and_escapes_shows_them_harmless():
    text = shown(replace(ALERT, title="[red]x[/red] \x1b[2J\x07", message="a\nb"))
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a b" in text


def test_terminal_when_output_is_closed_says_how_many_were_shown():
    out = io.StringIO()
    terminal = Terminal(Console(file=out))
    out.close()
    with pytest.raises(Unavailable) as raised:
        terminal.handle([delivery(ALERT)], threading.Event())
    assert raised.value.done == 0
