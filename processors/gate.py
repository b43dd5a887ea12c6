"""Gate: every intent becomes an order or a rejection, with every check and its evidence. See docs/processors.md."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from processors import breaches, checks
from processors.limit_book import Placed, Placings, replace
from processors.processor import Batch, Emitter, Processor, State
from processors.proforma import Stake, Working, reserved
from processors.totals import MILLIONTHS, Held, of_position
from processors.wording import clip, clock, derived_id, misplaced, money, number, quantity
from schemas import topics
from schemas.base import LATEST_TIME, Coordinates, Record, key_of
from schemas.control import KillSwitch
from schemas.evidence import Check, Evidence, Input
from schemas.exposures import Exposure
from schemas.instruments import MOST, Instrument
from schemas.intents import Intent, PricedIntent
from schemas.limits import Limit, Measure
from schemas.orders import Order
from schemas.positions import Position
from schemas.rejections import Rejection

REMEMBERED = 7 * 86_400_000_000
"""How long an intent id is known: as long as the records that it can be derived from again are kept. One that is
repeated later fails the check of its age."""


class Listed(msgspec.Struct, frozen=True, gc=False):
    """An instrument and where it was read."""

    record: Instrument
    at: Coordinates


class Switch(msgspec.Struct, frozen=True, gc=False):
    """A kill switch and where it was read."""

    record: KillSwitch
    at: Coordinates


class Exposed(msgspec.Struct, frozen=True, gc=False):
    """An exposure and where it was read."""

    record: Exposure
    at: Coordinates


class Gate(Processor):
    """The last decision before the market. Fails closed: what is unknown is a reason to reject.

    Positions are read beside the exposures, since what an order does to a gross exposure depends on the position that
    it meets. An intent id is answered once.
    """

    name = "gate"
    reads = (
        topics.priced_intents,
        topics.exposures,
        topics.positions,
        topics.limits,
        topics.control,
        topics.instruments,
    )
    writes = (topics.orders, topics.rejections)
    newest_only = frozenset({topics.exposures, topics.positions})

    instruments = State(Listed)
    """Broadcast; by instrument."""
    switches = State(Switch)
    """Broadcast; by scope."""
    limits_of = State(Placings)
    """Broadcast; by book."""
    book_of = State(str)
    """Broadcast; by limit id."""
    exposures = State(Exposed)
    """By ``book|currency``."""
    positions = State(Held)
    """By ``book|instrument``."""
    working = State(list[Working])
    """By book."""
    answered = State(str, ttl=REMEMBERED)
    """By ``book|intent_id``: the id of the order or rejection."""

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Decide on intents; remember everything else."""
        for index, value in enumerate(batch.values):
            if misplaced(batch, index, _key(value)):
                continue
            at = batch.at(index)
            match value:
                case PricedIntent():
                    self._intent(value, at, out)
                case Exposure():
                    self.exposures.put(key_of(value.book, value.currency), Exposed(value, at))
                case KillSwitch():
                    self.switches.put(value.scope, Switch(value, at))
                case Instrument():
                    self.instruments.put(value.instrument, Listed(value, at))
                case Limit():
                    replace(self.limits_of, self.book_of, Placed(value, at))
                case Position():
                    self.positions.put(key_of(value.book, value.instrument), Held(value, at))

    def _intent(self, priced: PricedIntent, at: Coordinates, out: Emitter) -> None:
        intent = priced.intent
        identity = key_of(intent.book, intent.intent_id)
        if self.answered.get(identity) is not None:
            return
        listed = self.instruments.get(intent.instrument)
        instrument = listed.record if listed else None
        currency = instrument.currency if instrument else ""
        exposed = self.exposures.get(key_of(intent.book, currency))
        exposure = exposed.record if exposed else None
        placed = [
            one
            for one in (self.limits_of.get(intent.book) or {}).values()
            if one.limit.active and one.limit.currency == currency and one.limit.instrument in (None, intent.instrument)
        ]
        working = [one for one in self.working.get(intent.book) or [] if one.expire_time > priced.event_time]
        stake, unknown = self._stake(priced, currency, exposure, working)
        held = self.positions.get(key_of(intent.book, intent.instrument))
        others = [one for one in working if one.instrument == intent.instrument]
        reducing = checks.reduces(intent, held.position.quantity if held else Decimal(0), others)
        switches = [found for scope in ("all", f"book:{intent.book}") if (found := self.switches.get(scope))]
        exposures = [found.record for _, found in self.exposures.items(f"{intent.book}|")]
        made = [
            checks.kill_switch([one.record for one in switches]),
            checks.instrument(intent, instrument),
            checks.price(priced),
            checks.age(priced),
            checks.size(intent, instrument),
            checks.collar(priced),
            *checks.limits(placed, stake, unknown, exposure, reducing),
            checks.breach(exposures, reducing),
        ]
        inputs = _inputs(priced, at, listed, switches, exposed, held, placed)
        bound = checks.limit_price(priced)
        if instrument is None or bound is None or stake is None or not all(one.passed for one in made):
            rejection = _rejection(priced, made, inputs, placed, switches)
            self.answered.put(identity, rejection.rejection_id)
            out.append(topics.rejections, intent.instrument, rejection, event_id=rejection.rejection_id)
            return
        order = _order(priced, instrument, bound, made, inputs)
        self.answered.put(identity, order.order_id)
        signed = intent.quantity * intent.side.sign
        new = Working(order.order_id, intent.instrument, currency, signed, stake.order, order.expire_time)
        self.working.put(intent.book, [*working, new])
        out.append(topics.orders, intent.instrument, order, event_id=order.order_id)

    def _stake(
        self,
        priced: PricedIntent,
        currency: str,
        exposure: Exposure | None,
        working: list[Working],
    ) -> tuple[Stake | None, str]:
        """The book in the order's currency and the order; None, and why, when it cannot be known."""
        intent = priced.intent
        if not currency:
            return None, "cannot be checked: the instrument is unknown"
        if priced.mark is None or intent.quantity > MOST:
            return None, "cannot be checked without a price and a quantity in range"
        if exposure is not None and (exposure.gross is None or exposure.net is None or exposure.unrealised_pnl is None):
            return None, f"the exposure is unknown: no live mark for {', '.join(exposure.unknown)}"
        orders = [one for one in working if one.currency == currency]
        names = {intent.instrument, *(one.instrument for one in orders)}
        values: dict[str, float] = {}
        losses: dict[str, float] = {}
        for name in sorted(names):
            held = self.positions.get(key_of(intent.book, name))
            if held is None:
                continue
            loss = of_position(Measure.LOSS, currency, held.position)
            if loss is None or (exposure is None and held.position.quantity):
                return None, f"the exposure is unknown: the position in {name} is not valued in {currency} yet"
            values[name], losses[name] = held.position.market_value or 0.0, loss / MILLIONTHS
        if exposure is not None:
            losses[""] = exposure.fees - exposure.realised_pnl - (exposure.unrealised_pnl or 0.0)
        stake = Stake(
            gross=(exposure.gross or 0.0) if exposure else 0.0,
            net=(exposure.net or 0.0) if exposure else 0.0,
            values=values,
            losses=losses,
            working=reserved(orders),
            instrument=intent.instrument,
            order=float(intent.quantity) * intent.side.sign * priced.mark,
        )
        return stake, ""


def _key(value: Record) -> str:
    """The message key that a record must stand under."""
    match value:
        case PricedIntent():
            return value.intent.book
        case Exposure():
            return key_of(value.book, value.currency)
        case KillSwitch():
            return value.scope
        case Instrument():
            return value.instrument
        case Limit():
            return value.limit_id
        case Position():
            return key_of(value.book, value.instrument)
        case _:
            raise TypeError(f"the gate reads no {type(value).__name__}")


def _order(priced: PricedIntent, listed: Instrument, bound: float, made: list[Check], inputs: list[Input]) -> Order:
    intent = priced.intent
    why = intent.evidence
    return Order(
        order_id=derived_id(intent.intent_id, "order"),
        intent_id=intent.intent_id,
        book=intent.book,
        instrument=intent.instrument,
        side=intent.side,
        quantity=intent.quantity,
        limit_price=bound,
        currency=listed.currency,
        venue=listed.venue,
        checks=made,
        evidence=Evidence(decided_by=why.decided_by, version=why.version, inputs=inputs),
        expire_time=min(priced.event_time + checks.LIFETIME, LATEST_TIME - 1),
        event_time=priced.event_time,
        receive_time=priced.receive_time,
    )


def _rejection(
    priced: PricedIntent, made: list[Check], inputs: list[Input], placed: list[Placed], switches: list[Switch]
) -> Rejection:
    """The first check that failed is named as the deciding one; the others are in ``checks``."""
    intent = priced.intent
    first = next((one.name for one in made if not one.passed), "price")
    decided_by, version = f"gate:{first}", 0
    for one in placed:
        if first == derived_id(f"limit:{one.limit.limit_id}"):
            decided_by, version = first, one.limit.version
    for switch in switches:
        if first == "kill-switch" and switch.record.engaged:
            decided_by, version = f"control:{switch.record.scope}", switch.record.version
    return Rejection(
        rejection_id=derived_id(intent.intent_id, "rejection"),
        intent_id=intent.intent_id,
        book=intent.book,
        instrument=intent.instrument,
        side=intent.side,
        quantity=intent.quantity,
        checks=made,
        evidence=Evidence(decided_by=decided_by, version=version, inputs=inputs),
        event_time=priced.event_time,
        receive_time=priced.receive_time,
    )


def _inputs(
    priced: PricedIntent,
    at: Coordinates,
    listed: Listed | None,
    switches: list[Switch],
    exposed: Exposed | None,
    held: Held | None,
    placed: list[Placed],
) -> list[Input]:
    intent = priced.intent
    unit = listed.record.unit if listed else ""
    found = [(priced.intent_at, "intent", _intent_words(intent, unit)), (at, "priced intent", priced.price_reason)]
    if priced.priced_by is not None:
        found.append((priced.priced_by, "price", _price_words(priced)))
    if listed is not None:
        lot, most = number(listed.record.lot_size), number(listed.record.max_order_quantity)
        found.append((listed.at, "instrument", f"{listed.record.name}: lot {lot}, at most {most} an order"))
    for switch in switches:
        state = "engaged" if switch.record.engaged else "released"
        found.append((switch.at, "control", f"kill switch {switch.record.scope} {state}: {switch.record.reason}"))
    if exposed is not None:
        found.append((exposed.at, "exposure", _exposure_words(exposed.record)))
    if held is not None:
        found.append((held.at, "position", breaches.position_words(Measure.GROSS, held.position)))
    found += [(one.at, "limit", breaches.limit_words(one.limit)) for one in placed]
    return [Input(at=place, role=role, summary=clip(summary)) for place, role, summary in found]


def _intent_words(intent: Intent, unit: str) -> str:
    amount = quantity(intent.quantity, unit)
    return f"{intent.side.value} {amount} {intent.instrument} for {intent.book}, collar {number(intent.collar)}"


def _price_words(priced: PricedIntent) -> str:
    sides = (("bid", priced.bid), ("ask", priced.ask), ("mark", priced.mark))
    told = ", ".join(f"{name} {'none' if value is None else number(value)}" for name, value in sides)
    return f"{told} at {clock(priced.price_time)}" if priced.price_time else told


def _exposure_words(exposure: Exposure) -> str:
    if exposure.gross is None or exposure.net is None:
        return f"{exposure.book} {exposure.currency} unknown: no live mark for {', '.join(exposure.unknown)}"
    gross, net = money(exposure.gross, exposure.currency), money(exposure.net, exposure.currency)
    return f"{exposure.book} gross {gross}, net {net}"
