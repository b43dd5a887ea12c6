"""Trading and alert rules: written into every partition of a compacted control topic."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from schemas.alerts import Severity
from schemas.base import Count, Duration, Identifier, Micros, Record, Side, Text, Value


class Telepoint(Record, frozen=True, kw_only=True, tag="telemetry", tag_field="source"):
    """A point of a device as operand."""

    device: Identifier
    point: Identifier


class PriceOf(Record, frozen=True, kw_only=True, tag="price", tag_field="source"):
    """The mark of an instrument as operand."""

    instrument: Identifier


Operand = Telepoint | PriceOf


class Comparison(enum.StrEnum):
    """How the operand is held against the threshold. ``inside`` and ``outside`` use ``threshold`` ± ``band``."""

    BELOW = "below"
    ABOVE = "above"
    INSIDE = "inside"
    OUTSIDE = "outside"
    ABSENT = "absent"


class Condition(Record, frozen=True, kw_only=True):
    """One comparison: operand against ``threshold``, or against ``factor`` x the operand ``relative_to``.

    ``band`` is the half-width for inside and outside, and the hysteresis for below and above: a condition that holds
    stops holding only once the operand is back across the threshold by ``band``. ``absent`` holds when the operand
    has not been received for ``within``.
    """

    operand: Operand
    comparison: Comparison
    threshold: Value | None = None
    relative_to: Operand | None = None
    factor: Value = 1.0
    band: Annotated[float, Meta(ge=0, le=1e18)] = 0.0
    within: Duration = 0

    def __post_init__(self) -> None:
        """Exactly one of threshold and relative_to, or ``within`` for absence."""
        if self.comparison is Comparison.ABSENT:
            if self.within == 0 or self.threshold is not None or self.relative_to is not None:
                raise ValueError("absent needs within above 0, and neither threshold nor relative_to")
        elif (self.threshold is None) == (self.relative_to is None):
            raise ValueError(f"{self.comparison} needs exactly one of threshold and relative_to")


class TradeAction(Record, frozen=True, kw_only=True):
    """The intent that a rule makes when it fires. ``collar`` bounds the limit price around the mark, in price units."""

    book: Identifier
    instrument: Identifier
    side: Side
    quantity: Decimal
    collar: Annotated[float, Meta(ge=0, le=1e9)]

    def __post_init__(self) -> None:
        """A quantity is above zero and finite."""
        if not self.quantity.is_finite() or self.quantity <= 0:
            raise ValueError("quantity must be a finite number above zero")


class Rule(Record, frozen=True, kw_only=True):
    """Fires when every condition has held, by event time, for ``duration``; again only after it was cleared.

    A condition whose operand has bad quality, an open gap, or is older than ``stale_after`` does not hold.
    ``cooldown`` is the least time between two firings. Without ``action`` the rule only alerts.
    """

    rule_id: Identifier
    version: Count
    name: Text
    conditions: Annotated[list[Condition], Meta(min_length=1, max_length=20)]
    duration: Duration = 0
    stale_after: Duration = 60_000_000
    cooldown: Duration = 0
    severity: Severity = Severity.WARNING
    action: TradeAction | None = None
    active: bool = True
    owner: Text = ""
    event_time: Micros
    receive_time: Micros

    def operands(self) -> list[Operand]:
        """Every operand that the conditions name, each once, in order of appearance."""
        named = [o for c in self.conditions for o in (c.operand, c.relative_to) if o is not None]
        return list(dict.fromkeys(named))
