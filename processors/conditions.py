"""Conditions of a rule in three-valued logic: true, false, or unknown because an operand cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from processors.operands import operand_key, operand_name
from processors.wording import clock, number, span, telling, unit_name
from schemas.base import Coordinates, Quality
from schemas.gaps import GapReason
from schemas.observations import Observation
from schemas.rules import Comparison, Condition, Operand, PriceOf, Rule

HOLES = (GapReason.SEQUENCE, GapReason.OVERFLOW)
"""Gaps that the next record itself reveals: they say that some were missed before it, not that the feed is down."""


class Seen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The newest good value of an operand, and what was received after it that takes the trust away.

    A time is 0 when there was none. ``armed`` is when an operand of which nothing was received was first missed.
    """

    value: float | None = None
    unit: str = ""
    at: Coordinates | None = None
    event_time: int = 0
    receive_time: int = 0
    lost_at: Coordinates | None = None
    lost_reason: str = ""
    lost_time: int = 0
    hole: bool = False
    armed: int = 0


NEVER = Seen()


def after(seen: Seen, found: Observation) -> Seen:
    """What is known of the operand after ``found``; the same object when it is out of date.

    A good value is out of date when it is older than the one known, or was received before what took the trust away.
    A gap is when data was received no earlier than it. So the order in which feed and gaps were read does not matter.
    """
    if found.value is not None and found.quality is not Quality.BAD:
        if found.event_time < seen.event_time or found.receive_time < seen.lost_time:
            return seen
        return Seen(
            value=found.value,
            unit=found.unit,
            at=found.origin,
            event_time=found.event_time,
            receive_time=found.receive_time,
        )
    late = found.receive_time <= seen.receive_time if found.gap else found.event_time < seen.event_time
    if late or found.receive_time < seen.lost_time:
        return seen
    return msgspec.structs.replace(
        seen,
        lost_at=found.origin,
        lost_reason=found.reason or f"quality {found.quality.value}",
        lost_time=found.receive_time,
        hole=found.gap in HOLES and (seen.hole or not seen.lost_time),
        armed=seen.armed or found.receive_time,
    )


class View:
    """A rule's operands at one moment. ``now`` is the event time, ``wall`` the receive time at which it is judged."""

    def __init__(self, rule: Rule, look: Callable[[str], Seen | None], now: int, wall: int) -> None:
        self.rule = rule
        self.now = now
        self.wall = wall
        self._look = look

    def seen(self, operand: Operand) -> Seen:
        """What is known of an operand."""
        return self._look(operand_key(operand)) or NEVER

    def value(self, operand: Operand) -> float | None:
        """The operand's value, None when it cannot be trusted now."""
        seen = self.seen(operand)
        if seen.lost_time or seen.value is None or self.now - seen.event_time > self.rule.stale_after:
            return None
        return seen.value

    def interrupted(self) -> bool:
        """Whether an operand is unknown for more than a hole in its sequence."""
        return any(
            self.value(operand) is None and not self._only_a_hole(self.seen(operand))
            for condition in self.rule.conditions
            if condition.comparison is not Comparison.ABSENT
            for operand in (condition.operand, condition.relative_to)
            if operand is not None
        )

    def _only_a_hole(self, seen: Seen) -> bool:
        return seen.hole and seen.value is not None and self.now - seen.event_time <= self.rule.stale_after

    def threshold(self, condition: Condition) -> float | None:
        """What the operand is held against."""
        if condition.relative_to is None:
            return condition.threshold
        other = self.value(condition.relative_to)
        return None if other is None else condition.factor * other

    def judge(self, condition: Condition, held: bool) -> bool | None:
        """Whether the condition holds; ``held``: it held before, so that the band is in its favour. None: unknown."""
        if condition.comparison is Comparison.ABSENT:
            return self._absent(condition)
        value, threshold = self.value(condition.operand), self.threshold(condition)
        if value is None or threshold is None:
            return None
        band = condition.band
        match condition.comparison:
            case Comparison.BELOW:
                return value < threshold + (band if held else 0.0)
            case Comparison.ABOVE:
                return value > threshold - (band if held else 0.0)
            case Comparison.INSIDE:
                return abs(value - threshold) <= band
            case _:
                return abs(value - threshold) > band

    def _absent(self, condition: Condition) -> bool | None:
        due = self.absence_due(condition)
        return None if due is None else self.wall >= due

    def absence_due(self, condition: Condition) -> int | None:
        """When the operand will have been absent for long enough (microseconds), None when it was never missed."""
        seen = self.seen(condition.operand)
        since = seen.receive_time or seen.armed
        return since + condition.within if since else None


def digits(operand: Operand) -> int:
    """Significant digits in which to say a value: a price whole, since its last digit is money."""
    return 10 if isinstance(operand, PriceOf) else 5


def describe(view: View, condition: Condition, *, over: bool = False) -> str:
    """A condition with its numbers: ``wind-1/output_mw 31.2 MW is below 80 % of wind-1/forecast_mw 60 MW = 48 MW``.

    ``over``: it held and does not now: ``… is no longer below …``.
    """
    operand = condition.operand
    seen = view.seen(operand)
    name, unit = operand_name(operand), unit_name(seen.unit)
    if condition.comparison is Comparison.ABSENT:
        last = f"last received {clock(seen.receive_time)}" if seen.receive_time else "nothing was ever received"
        return f"{name} received again" if over else f"{name} absent for {span(condition.within)}, {last}"
    if seen.value is None:
        return f"{name} has no value"
    threshold = view.threshold(condition)
    figures = telling(seen.value, threshold, digits(operand))
    bound = "unknown" if threshold is None else f"{number(threshold, figures)} {unit}".rstrip()
    if condition.relative_to is not None:
        other = view.seen(condition.relative_to)
        shown = "unknown" if other.value is None else f"{number(other.value, figures)} {unit_name(other.unit)}".rstrip()
        share = f"{number(condition.factor * 100)} % of " if condition.factor != 1 else ""
        bound = f"{share}{operand_name(condition.relative_to)} {shown} = {bound}"
    word = f"no longer {condition.comparison.value}" if over else condition.comparison.value
    if condition.comparison in (Comparison.INSIDE, Comparison.OUTSIDE):
        bound = f"{bound} ± {number(condition.band)}"
    return f"{name} {number(seen.value, figures)} {unit}".rstrip() + f" is {word} {bound}"


def conjunction(results: Sequence[bool | None]) -> bool | None:
    """All of them: false when one is false, otherwise unknown when one is unknown, otherwise true."""
    if False in results:
        return False
    return None if None in results else True


def role(operand: Operand) -> str:
    """The part an operand's record plays in the evidence."""
    return "price" if isinstance(operand, PriceOf) else "telemetry"
