"""The gate's checks. Each is made for every intent, whatever the others found, and says why in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal

from processors.limit_book import Placed
from processors.proforma import Stake, Working
from processors.wording import clip, clock, contrast, derived_id, number, quantity, span, unknown
from schemas.base import Side
from schemas.control import KillSwitch
from schemas.evidence import Check
from schemas.exposures import Exposure, LimitState
from schemas.instruments import MOST, Instrument
from schemas.intents import Intent, PricedIntent
from schemas.limits import Measure

FRESH = 5_000_000
"""How old the price of an intent may be, and how late the intent may be priced (event time, microseconds)."""
LIFETIME = 5_000_000
"""How long an order is good for, and counts against the limits as working (event time, microseconds)."""
_EXACT = Context(prec=60)
_PRICE_RANGE = Decimal(10) ** 9


def _check(name: str, passed: bool, reason: str) -> Check:
    return Check(name=derived_id(name), passed=passed, reason=clip(reason))


def kill_switch(switches: Sequence[KillSwitch]) -> Check:
    """No switch of the scope is engaged."""
    engaged = [one for one in switches if one.engaged]
    if not engaged:
        return _check("kill-switch", True, "no kill switch is engaged")
    told = "; ".join(f"{one.scope} by {one.actor} since {clock(one.event_time)}: {one.reason}" for one in engaged)
    return _check("kill-switch", False, f"trading is stopped: {told}")


def instrument(intent: Intent, listed: Instrument | None) -> Check:
    """The instrument is listed."""
    if listed is None:
        return _check("instrument", False, unknown(intent.instrument))
    return _check("instrument", True, f"{listed.name}, in {listed.currency} at {listed.venue}")


def price(priced: PricedIntent) -> Check:
    """There is a live price, and by event time it is not older than FRESH."""
    if priced.mark is None or priced.price_time is None:
        return _check("price", False, f"no price: {priced.price_reason or 'none was found'}")
    age = priced.event_time - priced.price_time
    if age > FRESH:
        return _check("price", False, f"the price is {span(age)} old; at most {span(FRESH)} is traded on")
    return _check("price", True, f"mark {number(priced.mark)} of {clock(priced.price_time)}")


def age(priced: PricedIntent) -> Check:
    """The intent was not left lying: the price that it met is at most FRESH later than the intent."""
    late = (priced.price_time or 0) - priced.event_time
    if late > FRESH:
        return _check("age", False, f"the intent met the market {span(late)} late; at most {span(FRESH)} is allowed")
    return _check("age", True, f"intent of {clock(priced.event_time)}")


def size(intent: Intent, listed: Instrument | None) -> Check:
    """A whole number of lots, and no more than one order may hold."""
    if listed is None:
        return _check("size", False, "cannot be checked: the instrument is unknown")
    amount = quantity(intent.quantity, listed.unit)
    if intent.quantity > listed.max_order_quantity:
        most = quantity(listed.max_order_quantity, listed.unit)
        return _check("size", False, f"{amount} is more than the {most} that one order may hold")
    if intent.quantity < listed.lot_size or _EXACT.remainder(intent.quantity, listed.lot_size):
        return _check(
            "size", False, f"{amount} is not a multiple of the lot of {quantity(listed.lot_size, listed.unit)}"
        )
    return _check("size", True, f"{amount} in lots of {quantity(listed.lot_size, listed.unit)}")


def limit_price(priced: PricedIntent) -> float | None:
    """The mark plus the collar for a buy, minus for a sell; added as decimals, so that 71.35 + 0.1 is 71.45."""
    if priced.mark is None:
        return None
    mark, width = Decimal(repr(priced.mark)), Decimal(repr(priced.intent.collar))
    bound = _EXACT.add(mark, width) if priced.intent.side is Side.BUY else _EXACT.subtract(mark, width)
    return float(bound) if bound.copy_abs() <= _PRICE_RANGE else None


def collar(priced: PricedIntent) -> Check:
    """The touch of the far side lies within the limit price, so that the order can be filled at once."""
    bound = limit_price(priced)
    if bound is None:
        return _check("collar", False, "cannot be checked without a price in range")
    buy = priced.intent.side is Side.BUY
    touch, name = (priced.ask, "ask") if buy else (priced.bid, "bid")
    if touch is None:
        return _check("collar", False, f"nobody {'offers' if buy else 'bids'}: there is no {name}")
    width = number(priced.intent.collar)
    told = f"mark {number(priced.mark or 0.0)} {'+' if buy else '-'} collar {width} = {number(bound)}"
    if touch > bound if buy else touch < bound:
        return _check("collar", False, f"{name} {number(touch)} is beyond {told}")
    return _check("collar", True, f"{name} {number(touch)} is within {told}")


def limits(
    placed: Sequence[Placed], stake: Stake | None, unknown_because: str, exposure: Exposure | None, reducing: bool
) -> list[Check]:
    """Every limit of the book in the currency, with the order and the working ones counted, against its hard level.

    An order that lowers the measure passes: a book above its limit must be able to come down. What lowers a loss cannot
    be known; there an order that reduces a position passes.
    """
    if not placed:
        return [_check("limits", stake is not None, unknown_because or "the book has no limit in this currency")]
    states = {use.limit_id: use.state for use in exposure.limits} if exposure else {}
    found: list[Check] = []
    for one in placed:
        limit = one.limit
        name = f"limit:{limit.limit_id}"
        if stake is None or states.get(limit.limit_id) is LimitState.UNKNOWN:
            found.append(_check(name, False, unknown_because or "the measure is unknown: a position has no live mark"))
            continue
        before, after = stake.measure(limit)
        amount, hard = contrast(after, limit.hard, limit.currency)
        what = f"{limit.measure.value} with this and working orders {amount}"
        if after < before:
            found.append(_check(name, True, f"{what}, less than before"))
        elif limit.measure is Measure.LOSS and reducing:
            found.append(_check(name, True, f"{what}; the order reduces a position"))
        elif states.get(limit.limit_id) is LimitState.HARD:
            found.append(
                _check(name, False, f"{what}; the hard limit {hard} is breached and the order does not lower it")
            )
        elif after > limit.hard:
            found.append(_check(name, False, f"{what} would be above the hard limit {hard}"))
        else:
            found.append(_check(name, True, f"{what}, hard limit {hard}"))
    return found


def breach(exposures: Sequence[Exposure], reducing: bool) -> Check:
    """While any hard limit of the book is breached, in any currency, only orders that reduce a position pass."""
    broken = [use.limit_id for one in exposures for use in one.limits if use.state is LimitState.HARD]
    if not broken:
        return _check("breach", True, "no hard limit of the book is breached")
    told = f"hard limit breached: {', '.join(broken)}"
    if reducing:
        return _check("breach", True, f"{told}; the order reduces a position")
    return _check("breach", False, f"{told}; only orders that reduce a position are let through")


def reduces(intent: Intent, held: Decimal, working: Sequence[Working]) -> bool:
    """Whether the order makes the position smaller without crossing zero, even if all working ones of its side fill."""
    if intent.quantity > MOST:
        return False
    same = sum((abs(one.quantity) for one in working if (one.quantity > 0) is (intent.side is Side.BUY)), Decimal(0))
    room = -held if intent.side is Side.BUY else held
    return same + intent.quantity <= room
