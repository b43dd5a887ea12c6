"""What a rule looks at: telemetry and prices repartitioned to the rules that name them."""

from __future__ import annotations

from schemas.base import Coordinates, Identifier, Micros, Quality, Record, Text, Unit, Value
from schemas.gaps import GapReason
from schemas.rules import Operand


class Observation(Record, frozen=True, kw_only=True):
    """A sample, a mark or a gap, addressed to one rule. Keyed by rule and operand, partitioned by rule.

    ``value`` is null when the sample had none, or when an open gap (then ``gap`` is its reason) says that the last one
    cannot be trusted. ``origin`` is the record it was made from. ``event_time`` is the origin's, but never later than
    ``receive_time``: a source whose clock runs ahead cannot make a value look newer than it is.
    """

    rule_id: Identifier
    operand: Operand
    value: Value | None
    unit: Unit
    quality: Quality
    gap: GapReason | None = None
    reason: Text = ""
    origin: Coordinates
    event_time: Micros
    receive_time: Micros
