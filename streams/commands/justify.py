"""Does a decision follow from the records it names? Worked out anew from what was read back, not from its words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from processors.conditions import digits
from processors.limits import SHOWN
from processors.wording import lasted, money, number, span, telling
from schemas.alerts import Alert, AlertKind, Severity
from schemas.base import Record
from schemas.control import KillSwitch
from schemas.evidence import Evidence
from schemas.intents import Intent, PricedIntent
from schemas.limits import Limit, Measure
from schemas.observations import Observation
from schemas.orders import Order
from schemas.positions import Position
from schemas.rejections import Rejection
from schemas.rules import Comparison, Condition, Operand, PriceOf, Rule, Telepoint
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.commands.describe import condition

_CLOSE = 1e-9
"""Relative difference that the order of adding floats may make."""


@dataclass(frozen=True)
class Proof:
    """One thing worked out anew. ``holds`` is None where the records that could be opened do not decide it."""

    holds: bool | None
    text: str


def prove(decision: Record, inputs: Sequence[Record], complete: bool) -> list[Proof]:
    """Proofs of ``decision`` from ``inputs``, the records behind it. ``complete``: all that it names was opened."""
    found: list[Proof] = []
    if isinstance(decision, (Alert, Intent, Order, Rejection)):
        found += _version(decision.evidence, inputs)
    if isinstance(decision, Alert) and decision.kind in (AlertKind.BREACH_OPENED, AlertKind.BREACH_CLOSED):
        found += _breach(decision, inputs, complete)
    elif isinstance(decision, Intent) or (isinstance(decision, Alert) and decision.kind is AlertKind.RULE_FIRED):
        found += _fired(decision, inputs)
    elif isinstance(decision, Alert):
        found += _cleared(decision, inputs)
    elif isinstance(decision, Order):
        found += _order(decision, inputs)
    elif isinstance(decision, Rejection):
        found += [Proof(None, f"refused: {reason}") for reason in decision.reasons]
        found += [Proof(bool(decision.reasons), "at least one check of the gate failed")]
    return found


def _version(evidence: Evidence, inputs: Iterable[Record]) -> list[Proof]:
    """The deciding record is the one that was opened, in the version that the decision names."""
    kind, _, name = evidence.decided_by.partition(":")
    for record in inputs:
        match record:
            case Limit(limit_id=found, version=version) if kind == "limit" and found == name:
                pass
            case Rule(rule_id=found, version=version) if kind == "rule" and found == name:
                pass
            case KillSwitch(scope=found, version=version) if kind in ("control", "kill-switch") and found == name:
                pass
            case _:
                continue
        text = f"{kind} {name} was opened in version {version}; the decision names version {evidence.version}"
        return [Proof(version == evidence.version, text)]
    if kind in ("limit", "rule"):
        return [Proof(None, f"{kind} {name} version {evidence.version} is not among the records that could be opened")]
    return []


def _breach(alert: Alert, inputs: Sequence[Record], complete: bool) -> list[Proof]:
    limit = next((record for record in inputs if isinstance(record, Limit)), None)
    if limit is None:
        return []
    if not limit.active or (alert.kind is AlertKind.BREACH_CLOSED and limit.book != alert.book):
        return [Proof(alert.kind is AlertKind.BREACH_CLOSED, f"limit {limit.limit_id} no longer bounds this")]
    positions = [record for record in inputs if isinstance(record, Position) and _within(limit, record)]
    used = _measure(limit.measure, positions)
    if used is None or not complete or len(positions) >= SHOWN:
        return [Proof(None, f"{limit.measure.value} cannot be added up from the positions that could be opened")]
    amount = f"{limit.measure.value} of {len(positions)} positions adds up to {money(used, limit.currency, 8)}"
    slack = _CLOSE * max(1.0, abs(used))
    if alert.kind is AlertKind.BREACH_OPENED:
        level = limit.hard if alert.severity is Severity.CRITICAL else limit.soft
        name = "hard" if alert.severity is Severity.CRITICAL else "soft"
        return [Proof(used > level - slack, f"{amount}, above the {name} level {money(level, limit.currency, 8)}")]
    level = limit.hard if "hard" in alert.title.lower() else limit.soft
    closing = level * (1 - limit.hysteresis)
    return [
        Proof(used <= closing + slack, f"{amount}, at or below the closing level {money(closing, limit.currency, 8)}")
    ]


def _within(limit: Limit, position: Position) -> bool:
    return (
        position.book == limit.book
        and position.currency == limit.currency
        and limit.instrument in (None, position.instrument)
    )


def _measure(measure: Measure, positions: Iterable[Position]) -> float | None:
    """A limit's measure over ``positions``, in their currency; None while a held one has no live mark."""
    values: list[float] = []
    for held in positions:
        value, unrealised = held.market_value, held.unrealised_pnl
        if held.quantity == 0:
            value = unrealised = 0.0
        if value is None or unrealised is None:
            return None
        values.append(float(held.realised_pnl - held.fees) + unrealised if measure is Measure.LOSS else value)
    if measure is Measure.GROSS:
        return math.fsum(map(abs, values))
    total = math.fsum(values)
    return -total if measure is Measure.LOSS else abs(total)


def _fired(decision: Alert | Intent, inputs: Sequence[Record]) -> list[Proof]:
    rule = next((record for record in inputs if isinstance(record, Rule)), None)
    if rule is None:
        return []
    proofs = [_condition(one, inputs, decision) for one in rule.conditions]
    if rule.duration:
        proofs.append(_lasted(rule, inputs, decision))
    if isinstance(decision, Intent) and rule.action is not None:
        a = rule.action
        same = (a.book, a.instrument, a.side, a.quantity) == (
            decision.book,
            decision.instrument,
            decision.side,
            decision.quantity,
        )
        proofs.append(Proof(same, f"the rule's action is {a.side.value} {number(a.quantity)} {a.instrument}"))
    return proofs


def _cleared(decision: Alert, inputs: Sequence[Record]) -> list[Proof]:
    rule = next((record for record in inputs if isinstance(record, Rule)), None)
    if rule is None:
        return []
    lost = [proof.text for one in rule.conditions if (proof := _condition(one, inputs, decision)).holds is False]
    if lost:
        return [Proof(True, f"no longer true: {text}") for text in lost]
    return [Proof(None, "every condition could still be true: the rule was changed or switched off, see the message")]


def _lasted(rule: Rule, inputs: Sequence[Record], decision: Alert | Intent) -> Proof:
    """From the newest of the operands' first records on, all conditions have held."""
    firsts = [min((r.event_time for r in _about(named, inputs)), default=None) for named in rule.operands()]
    known = [time for time in firsts if time is not None]
    if not known or len(known) < len(firsts):
        return Proof(None, f"held for {span(rule.duration)}: when it began could not be opened")
    held = decision.event_time - max(known)
    return Proof(held >= rule.duration, f"held for {lasted(held)}, at least the {span(rule.duration)} of the rule")


def _condition(one: Condition, inputs: Sequence[Record], decision: Alert | Intent) -> Proof:
    if one.comparison is Comparison.ABSENT:
        return _absent(one, inputs, decision)
    left = _value(one.operand, inputs)
    right = one.threshold if one.relative_to is None else _value(one.relative_to, inputs)
    if left is None or right is None:
        return Proof(None, f"{condition(one)}: a value behind it could not be opened")
    bound = right * one.factor if one.relative_to is not None else right
    band = one.band
    holds = {
        # below and above go on holding within the band
        Comparison.BELOW: left < bound + band,
        Comparison.ABOVE: left > bound - band,
        Comparison.INSIDE: abs(left - bound) <= band,
        Comparison.OUTSIDE: abs(left - bound) > band,
    }[one.comparison]
    shown = telling(left, bound, digits(one.operand))
    return Proof(holds, f"{condition(one)}: {number(left, shown)} against {number(bound, shown)}")


def _absent(one: Condition, inputs: Sequence[Record], decision: Alert | Intent) -> Proof:
    newest = max((record.receive_time for record in _about(one.operand, inputs)), default=None)
    if newest is None:
        return Proof(None, f"{condition(one)}: the last record before the silence could not be opened")
    silent = decision.receive_time - newest
    return Proof(silent >= one.within, f"{condition(one)}: the last record came {span(silent)} before")


def _about(named: Operand, inputs: Iterable[Record]) -> list[Telemetry | Tick | Observation]:
    """The records that carry a value of the operand."""
    found: list[Telemetry | Tick | Observation] = []
    for record in inputs:
        match record, named:
            case (Telemetry(device=device, point=point), Telepoint()) if (device, point) == (named.device, named.point):
                found.append(record)
            case (Tick(instrument=instrument), PriceOf()) if instrument == named.instrument:
                found.append(record)
            case (Observation(operand=seen), _) if seen == named:
                found.append(record)
            case _:
                pass
    return found


def _value(named: Operand, inputs: Iterable[Record]) -> float | None:
    """The newest value of the operand."""
    known = [(record.event_time, v) for record in _about(named, inputs) if (v := _of(record)) is not None]
    return max(known)[1] if known else None


def _of(record: Telemetry | Tick | Observation) -> float | None:
    return record.mark if isinstance(record, Tick) else record.value


def _order(order: Order, inputs: Iterable[Record]) -> list[Proof]:
    failed = [check.name for check in order.checks if not check.passed]
    names = f" ({', '.join(failed)} failed)" if failed else ""
    proofs = [Proof(not failed, f"all {len(order.checks)} checks of the gate passed{names}")]
    for record in inputs:
        if isinstance(record, PricedIntent) and record.intent.intent_id == order.intent_id and record.mark is not None:
            collar, off = record.intent.collar, abs(order.limit_price - record.mark)
            price, mark = number(order.limit_price), number(record.mark)
            text = f"the limit price {price} is within {number(collar)} of the mark {mark}"
            proofs.append(Proof(off <= collar + _CLOSE * max(1.0, abs(record.mark)), text))
            proofs.append(Proof(record.intent.quantity == order.quantity, "the quantity is the one that was wanted"))
    return proofs
