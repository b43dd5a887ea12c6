"""What a record says, in one line with units, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from processors.operands import operand_name
from processors.wording import money, number, quantity, span, unit_name
from schemas.alerts import Alert
from schemas.base import Quality, Record
from schemas.books import Book
from schemas.control import KillSwitch
from schemas.dead_letters import DeadLetter
from schemas.device_settings import DeviceSettings
from schemas.devices import Device, Storage
from schemas.events import Event
from schemas.exposures import Exposure, LimitUse
from schemas.fills import Fill
from schemas.gaps import Gap
from schemas.instruments import Instrument
from schemas.intents import Intent, PricedIntent
from schemas.journal import Journal
from schemas.limits import Limit
from schemas.observations import Observation
from schemas.orders import Order
from schemas.positions import MarkStatus, Position
from schemas.rejections import Rejection
from schemas.rules import Comparison, Condition, Rule
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from schemas.writes import Write


def describe(record: Record) -> str:
    """One line of plain text: every value with its unit, nothing that could steer a terminal."""
    return plain(_WORDS[type(record)](record))


def plain(text: str) -> str:
    """``text`` on one line without control characters: a device must not steer the terminal that shows its words."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def moment(micros: int) -> str:
    """Date and time in UTC to the millisecond: ``2026-11-21 07:00:03.250Z``."""
    at = datetime.fromtimestamp(micros / 1_000_000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{micros // 1000 % 1000:03d}Z"


def condition(one: Condition) -> str:
    """``wind-1/output_mw below 80 % of wind-1/forecast_mw``."""
    name = operand_name(one.operand)
    if one.comparison is Comparison.ABSENT:
        return f"{name} absent for {span(one.within)}"
    if one.relative_to is not None:
        against = f"{number(one.factor * 100)} % of {operand_name(one.relative_to)}"
    else:
        against = number(one.threshold or 0.0)
    return f"{name} {one.comparison.value} {against}" + (f" ± {number(one.band)}" if one.band else "")


def share(use: LimitUse) -> str:
    """How far a limit is used: ``oil-gross 105 % of hard 1.2 M``."""
    if use.used is None:
        return f"{use.limit_id} unknown"
    used = f"{use.used / use.hard:.0%} of hard" if use.hard else number(use.used)
    return f"{use.limit_id} {used} ({use.state.value})"


def _amount(value: float | None, currency: str) -> str:
    return "unknown" if value is None else money(value, currency)


def _value(value: float | None, unit: str) -> str:
    return "no value" if value is None else f"{number(value)} {unit_name(unit)}".rstrip()


def _price(value: float | Decimal | None) -> str:
    return "none" if value is None else number(value)


def _alert(r: Alert) -> str:
    return f"{r.severity.value} {r.kind.value}: {r.title}"


def _book(r: Book) -> str:
    sides = (("bid", r.bids), ("ask", r.asks))
    best = ", ".join(f"{name} {number(side[0].size)} at {number(side[0].price)}" for name, side in sides if side)
    why = f" ({r.reason})" if r.reason else ""
    depth = f"{len(r.bids)} + {len(r.asks)} levels"
    return f"{r.instrument} book {r.state.value}{why}: {best or 'empty'}, {depth}, {r.venue} sequence {r.sequence}"


def _control(r: KillSwitch) -> str:
    return (
        f"kill switch {r.scope} {'engaged' if r.engaged else 'released'} by {r.actor}: {r.reason} (version {r.version})"
    )


def _dead_letter(r: DeadLetter) -> str:
    return f"{r.application} gave up on {r.at or r.source or 'a record'}: {r.reason} ({r.size} bytes)"


def _device(r: Device) -> str:
    parts = [f"{r.device} ({r.protocol}) is {r.state.value} since {moment(r.since)}"]
    parts += [r.reason] if r.reason else []
    parts += [] if r.storage is Storage.DIRECT else [f"{number(r.waiting)} records wait: {r.storage.value}"]
    return "; ".join([*parts, f"{number(r.records)} records, {number(r.errors)} errors, {number(r.lost)} lost"])


def _device_settings(r: DeviceSettings) -> str:
    where = f" in {r.section.value}" if r.section else ""
    by = f" by {r.actor}" if r.actor else ""
    return f"{r.device} of {r.process}: {r.change.value}{where}{by}"


def _event(r: Event) -> str:
    states = {"active": r.active, "acknowledged": r.acknowledged, "confirmed": r.confirmed, "suppressed": r.suppressed}
    told = [name if state else f"not {name}" for name, state in states.items() if state is not None]
    what = f"{r.device}: {r.condition or r.type} of {r.source or 'the device'}: {r.message or 'no message'}"
    severity = [] if r.severity is None else [f"severity {r.severity}"]
    why = [] if r.quality is Quality.GOOD else [f"{r.quality.value} ({r.reason})"]
    return "; ".join([what, *severity, *([", ".join(told)] if told else []), *why])


def _exposure(r: Exposure) -> str:
    parts = [f"{r.book}: gross {_amount(r.gross, r.currency)}, net {_amount(r.net, r.currency)}"]
    parts += [f"unknown because of {', '.join(r.unknown)}"] if r.unknown else []
    parts += [share(use) for use in r.limits]
    return "; ".join(parts)


def _fill(r: Fill) -> str:
    fee = f", fee {number(r.fee)} {r.currency}" if r.fee else ""
    return (
        f"{r.book} {r.side.value} {number(r.quantity)} {r.instrument} at {number(r.price)} {r.currency}{fee} "
        f"(fill {r.fill_id}, order {r.order_id})"
    )


def _gap(r: Gap) -> str:
    missing = "" if r.first is None else f", sequence {r.first} to {r.last if r.last is not None else '?'}"
    name = f"{r.key}/{r.point}" if r.point else r.key
    detail = f": {r.detail}" if r.detail else ""
    return f"{r.feed.value} of {name}: gap {'opened' if r.open else 'closed'} ({r.reason.value}{missing}){detail}"


def _instrument(r: Instrument) -> str:
    lots = f"lots of {number(r.lot_size)}, at most {number(r.max_order_quantity)} an order"
    return f"{r.instrument}, {r.name}: {r.currency} per {unit_name(r.unit)}, {lots}, venue {r.venue}"


def _intent(r: Intent) -> str:
    return (
        f"{r.book} wants to {r.side.value} {number(r.quantity)} {r.instrument}, within {number(r.collar)} of the mark "
        f"(intent {r.intent_id})"
    )


def _journal(r: Journal) -> str:
    return f"commit {r.commit} of {r.application}[{r.partition}]: {len(r.segments)} segments, {r.outputs} outputs"


def _limit(r: Limit) -> str:
    of = f"{r.book} {r.instrument}" if r.instrument else r.book
    state = "" if r.active else ", inactive"
    return (
        f"{r.limit_id} version {r.version}: {r.measure.value} of {of}, soft {money(r.soft, r.currency)}, "
        f"hard {money(r.hard, r.currency)}, hysteresis {number(r.hysteresis * 100)} %{state}"
    )


def _observation(r: Observation) -> str:
    why = f" ({r.reason})" if r.reason else ""
    return f"rule {r.rule_id} sees {operand_name(r.operand)} = {_value(r.value, r.unit)}, {r.quality.value}{why}"


def _order(r: Order) -> str:
    return (
        f"{r.book} {r.side.value} {number(r.quantity)} {r.instrument} at {number(r.limit_price)} {r.currency} or "
        f"better, to {r.venue} until {moment(r.expire_time)} (order {r.order_id})"
    )


def _position(r: Position) -> str:
    held = f"{r.book} {r.instrument} {quantity(r.quantity, r.unit)}"
    booked = f"average {number(r.average_price)}, realised {number(r.realised_pnl)} {r.currency}"
    if r.mark_status is not MarkStatus.LIVE or r.mark is None or r.market_value is None:
        return f"{held}, mark {r.mark_status.value}; {booked}"
    marked = f"{held} × {number(r.mark)} = {number(r.market_value)} {r.currency}"
    return f"{marked}; {booked}, unrealised {_amount(r.unrealised_pnl, r.currency)}"


def _priced_intent(r: PricedIntent) -> str:
    if r.mark is None:
        return f"{_intent(r.intent)}; no price: {r.price_reason or 'no mark'}"
    return f"{_intent(r.intent)}; bid {_price(r.bid)}, ask {_price(r.ask)}, mark {number(r.mark)}"


def _rejection(r: Rejection) -> str:
    return f"{r.book} {r.side.value} {number(r.quantity)} {r.instrument} refused: {'; '.join(r.reasons)}"


def _rule(r: Rule) -> str:
    held = f" for {span(r.duration)}" if r.duration else ""
    action = ""
    if r.action is not None:
        a = r.action
        action = (
            f"; then {a.book} {a.side.value} {number(a.quantity)} {a.instrument} within {number(a.collar)} of the mark"
        )
    state = "" if r.active else " (inactive)"
    return f"{r.rule_id} version {r.version}{state}: {' and '.join(map(condition, r.conditions))}{held}{action}"


def _telemetry(r: Telemetry) -> str:
    why = f" ({r.reason})" if r.reason else ""
    return f"{r.device}/{r.point} = {_value(r.value, r.unit)}, {r.quality.value}{why}, sequence {r.sequence}"


def _tick(r: Tick) -> str:
    last = "" if r.last is None else f", last {number(r.last)}"
    return f"{r.instrument} bid {_price(r.bid)}, ask {_price(r.ask)}{last}, {r.venue} sequence {r.sequence}"


def _write(r: Write) -> str:
    detail = f": {r.detail}" if r.detail else ""
    asked = f"{number(r.asked)} {unit_name(r.unit)}".rstrip()
    return f"{r.actor} writes {r.device}/{r.point} = {asked} ({r.reason}): {r.outcome.value}{detail}"


_WORDS: dict[type[Any], Callable[[Any], str]] = {
    Alert: _alert,
    Book: _book,
    DeadLetter: _dead_letter,
    Device: _device,
    Event: _event,
    DeviceSettings: _device_settings,
    Exposure: _exposure,
    Fill: _fill,
    Gap: _gap,
    Instrument: _instrument,
    Intent: _intent,
    Journal: _journal,
    KillSwitch: _control,
    Limit: _limit,
    Observation: _observation,
    Order: _order,
    Position: _position,
    PricedIntent: _priced_intent,
    Rejection: _rejection,
    Rule: _rule,
    Telemetry: _telemetry,
    Tick: _tick,
    Write: _write,
}
