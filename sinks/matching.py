"""When and at what price the simulated venue fills an order. Pure: the time is passed in."""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from schemas.base import Side
from schemas.fills import Fill
from schemas.orders import Order
from schemas.ticks import Tick
from sinks.config import VenueConfig
from sinks.sink import identifier

# Booked amounts are exact: a product that would have to be rounded is an error, not a slightly different number.
_EXACT = decimal.Context(prec=200, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])

PRICE_DECIMALS = 9
"""Of a fill's price."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An order that came to its end without a fill. ``outcome``: ``expired`` or ``foreign``."""

    outcome: str
    reason: str


class Touch:
    """The newest tick per instrument of one venue, by event time: a tick that comes late replaces nothing."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._newest: dict[str, Tick] = {}

    def update(self, ticks: Iterable[Tick]) -> None:
        """Take ticks in the order in which they were read; those of other venues are no prices here."""
        for tick in ticks:
            if tick.venue == self._venue:
                known = self._newest.get(tick.instrument)
                if known is None or tick.event_time >= known.event_time:
                    self._newest[tick.instrument] = tick

    def get(self, instrument: str) -> Tick | None:
        """The newest tick, or None."""
        return self._newest.get(instrument)


def problem(order: Order) -> str:
    """Why the order makes no sense to any venue; empty when it does."""
    if not order.quantity.is_finite() or order.quantity <= 0:
        return f"quantity is {order.quantity}; expected a finite number above zero"
    if len(order.quantity.as_tuple().digits) > 100 or abs(order.quantity.adjusted()) > 100:
        return "quantity has more than 100 digits"
    return ""


def decide(order: Order, arrived: int, tick: Tick | None, now: int, config: VenueConfig) -> Fill | Ended | None:
    """The fill of ``order`` at the touch, its end, or None while it waits.

    A buy is filled at the ask, a sell at the bid, in full, when that price is within the order's limit, the tick was
    received no longer than ``max_age`` ago and the order is alive at ``now`` (the venue's clock). ``arrived``: when
    the venue first saw the order. Times in microseconds. The fill's id follows from the order's: a repeat is the same.
    """
    if order.venue != config.venue:
        return Ended("foreign", f"it is for {order.venue}, this is {config.venue}")
    dead_at = min(order.expire_time, arrived + round(config.longest_wait * 1e6))
    if now >= dead_at:
        return Ended("expired", _why_not(order, tick, now, config))
    price = _price(order, tick, now, config)
    if price is None:
        return None
    return Fill(
        fill_id=identifier(order.order_id, "fill"),
        order_id=order.order_id,
        book=order.book,
        instrument=order.instrument,
        side=order.side,
        quantity=order.quantity,
        price=price,
        fee=_EXACT.multiply(order.quantity, config.fee),
        currency=order.currency,
        venue=config.venue,
        event_time=now,
        receive_time=now,
    )


def _price(order: Order, tick: Tick | None, now: int, config: VenueConfig) -> Decimal | None:
    if tick is None or now - tick.receive_time > config.max_age * 1e6:
        return None
    touch = _touch(order, tick)
    if touch is None:
        return None
    within = touch <= order.limit_price if order.side is Side.BUY else touch >= order.limit_price
    # A feed that computes 39.88 - 0.01 writes 39.870000000000005: to nine decimals it is the price that was meant,
    # and no market has a finer tick.
    return Decimal(repr(round(touch, PRICE_DECIMALS))) if within else None


def _touch(order: Order, tick: Tick) -> float | None:
    return tick.ask if order.side is Side.BUY else tick.bid


def _why_not(order: Order, tick: Tick | None, now: int, config: VenueConfig) -> str:
    if tick is None:
        return f"no tick of {order.instrument} was seen"
    age = (now - tick.receive_time) / 1e6
    if age > config.max_age:
        return f"the newest tick of {order.instrument} is {age:.1f} s old"
    side = "ask" if order.side is Side.BUY else "bid"
    return f"the {side} is {_touch(order, tick)}, the limit {order.limit_price}"
