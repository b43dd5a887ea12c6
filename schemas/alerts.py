"""Alerts to people, each with its evidence."""

from __future__ import annotations

import enum

from schemas.base import Identifier, Micros, Record, Text
from schemas.evidence import Evidence


class Severity(enum.StrEnum):
    """How soon somebody must look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertKind(enum.StrEnum):
    """What happened. Each opening has its closing."""

    BREACH_OPENED = "breach-opened"
    BREACH_CLOSED = "breach-closed"
    RULE_FIRED = "rule-fired"
    RULE_CLEARED = "rule-cleared"


class Alert(Record, frozen=True, kw_only=True):
    """Something a person must know. Keyed by book (breaches) or rule (triggers).

    ``alert_id`` is made from the deciding limit or rule and the coordinates of the record that tipped it, so a
    receiver can tell a repeat. ``opened_by`` is, on a closing, the id of the alert that it closes.
    """

    alert_id: Identifier
    kind: AlertKind
    severity: Severity
    title: Text
    message: Text
    book: Identifier | None = None
    instrument: Identifier | None = None
    device: Identifier | None = None
    opened_by: Identifier | None = None
    evidence: Evidence
    event_time: Micros
    receive_time: Micros
