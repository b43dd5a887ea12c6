"""Alerts on the terminal, each with its why."""

from __future__ import annotations

import threading
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from schemas import topics
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Coordinates
from schemas.cloudevents import timestamp
from schemas.topics import Topic
from sinks.sink import Delivery, Unavailable

_STYLE = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
_CLOSING = {AlertKind.BREACH_CLOSED, AlertKind.RULE_CLEARED}


class Terminal:
    """One block per alert: when, how grave, what, and the rule or limit and the input records behind it."""

    name = "terminal"
    topics: tuple[Topic[Any], ...] = (topics.alerts,)
    batch_rows = 100
    batch_seconds = 0.0
    attempts: int | None = None

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()

    def handle(self, batch: list[Delivery], _stop: threading.Event) -> None:
        """Print the alerts. Raises Unavailable when the output is closed or blocked."""
        for done, delivery in enumerate(batch):
            try:
                self._console.print(block(delivery.record), soft_wrap=True)
                self._console.file.flush()
            except (OSError, ValueError) as error:  # ValueError: the file is closed
                raise Unavailable(f"the terminal takes no output: {error}", done=done) from error


def block(alert: Alert) -> Group:
    """The alert as rich text. What it says is shown as it is: markup and control characters in it do nothing."""
    style = "green" if alert.kind in _CLOSING else _STYLE[alert.severity]
    head = Text.assemble(
        (timestamp(alert.event_time)[:23].replace("T", " ") + "Z", "dim"),
        "  ",
        (f" {alert.severity.value.upper()} ", f"{style} reverse"),
        "  ",
        (_plain(alert.title), style),
    )
    evidence = alert.evidence
    lines = [
        Text(_plain(alert.message)),
        Text.assemble(("why  ", "dim"), _plain(evidence.decided_by), f" version {evidence.version}, from"),
        *(
            Text.assemble(f"     {one.role}  ", (_at(one.at), "dim"), f"  {_plain(one.summary)}")
            for one in evidence.inputs
        ),
        Text(f"     gridtape why {alert.alert_id}", "dim"),
    ]
    return Group(head, Padding(Group(*lines), (0, 0, 1, 2)))


def _at(coordinates: Coordinates) -> str:
    return _plain(str(coordinates))


def _plain(text: str) -> str:
    """One line without control characters: a device must not be able to steer the terminal of who reads its alert."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
