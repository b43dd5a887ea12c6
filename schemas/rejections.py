"""Intents that the gate refused, with every reason."""

from __future__ import annotations

from decimal import Decimal

from schemas.base import Identifier, Micros, Record, Side
from schemas.evidence import Check, Evidence


class Rejection(Record, frozen=True, kw_only=True):
    """A refused intent: all checks with their outcome, not only the first that failed. Keyed by instrument."""

    rejection_id: Identifier
    intent_id: Identifier
    book: Identifier
    instrument: Identifier
    side: Side
    quantity: Decimal
    checks: list[Check]
    evidence: Evidence
    event_time: Micros
    receive_time: Micros

    @property
    def reasons(self) -> list[str]:
        """The reasons of the checks that failed."""
        return [check.reason for check in self.checks if not check.passed]
