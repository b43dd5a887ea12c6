"""What a rule looks at: telemetry and prices repartitioned to the rules that name them."""

from __future__ import annotations

from schemas.base import Coordinates, Identifier, Micros, Quality, Record, Text, Unit, Value
from schemas.rules import Operand


class Observation(Record, frozen=True, kw_only=True):
    """A sample, a mark or a gap, addressed to one rule. Keyed by rule and operand, partitioned by rule.

    ``value`` is null when the sample had none, or when an open gap says that the last one cannot be trusted.
    ``origin`` is the record it was made from.
    """

    rule_id: Identifier
    operand: Operand
    value: Value | None
    unit: Unit
    quality: Quality
    reason: Text = ""
    origin: Coordinates
    event_time: Micros
    receive_time: Micros
