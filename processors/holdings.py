"""The average cost method, exact: what one book holds of one instrument, fill by fill.

Kept is the total cost, not the average: it is a sum of products and so needs no rounding. Only where a part of a
holding is closed, its share of the cost may have no finite decimal form; it is rounded half-even to 12 decimals, and
the same rounded amount leaves the cost and enters the realised P&L. So for every sequence of fills, to the last digit:

    realised - cost = sum of (-sign x quantity x price)
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow

import msgspec

from schemas.base import Coordinates, Side
from schemas.fills import Fill

_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation, Overflow])
_ROUND = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, Overflow])
_SHARE = Decimal(1).scaleb(-12)
_SHOWN = Decimal(1).scaleb(-10)
_DECIMALS = 12
_MOST = {"quantity": Decimal(10) ** 9, "price": Decimal(10) ** 9, "fee": Decimal(10) ** 12}
_MOST_MONEY = Decimal(10) ** 15
_ZERO = Decimal(0)


class UnbookableError(ValueError):
    """A fill that cannot be booked; the text says why."""


class Holding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Signed ``quantity``, its total ``cost`` (same sign as quantity x price), and what was realised and paid so far.

    ``average`` is cost / quantity to 10 decimals, kept because it is published with every mark.
    """

    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO
    average: Decimal = _ZERO
    realised: Decimal = _ZERO
    fees: Decimal = _ZERO
    fills: int = 0
    booked_by: Coordinates | None = None
    event_time: int = 0
    receive_time: int = 0


FLAT = Holding()


def book(held: Holding, fill: Fill, at: Coordinates) -> Holding:
    """The holding after ``fill``. Raises UnbookableError when a number is out of the range that is booked exactly.

    Increase: cost grows by quantity x price. Reduce: realised grows by closed x (price - average). Crossing zero: the
    old holding is closed and the rest opens a new one at the fill's price.
    """
    _check(fill)
    multiply, add, subtract = _EXACT.multiply, _EXACT.add, _EXACT.subtract
    buy = fill.side is Side.BUY
    signed = fill.quantity if buy else fill.quantity.copy_negate()
    if held.quantity and (held.quantity > 0) is not buy:
        closed = min(held.quantity.copy_abs(), fill.quantity)
        closing = closed if buy else closed.copy_negate()
        share = _share(held, closed)
        realised = subtract(subtract(held.realised, multiply(closing, fill.price)), share)
        cost = add(subtract(held.cost, share), multiply(subtract(signed, closing), fill.price))
    else:
        realised, cost = held.realised, add(held.cost, multiply(signed, fill.price))
    total = add(held.quantity, signed)
    fees = add(held.fees, fill.fee)
    _bounded(total, cost, realised, fees)
    return Holding(
        quantity=_plain(total),
        cost=_plain(cost),
        average=_average(cost, total),
        realised=_plain(realised),
        fees=_plain(fees),
        fills=held.fills + 1,
        booked_by=at,
        event_time=max(held.event_time, fill.event_time),
        receive_time=max(held.receive_time, fill.receive_time),
    )


def _share(held: Holding, closed: Decimal) -> Decimal:
    """The part of the cost that belongs to ``closed`` of the held quantity, with the sign of the cost."""
    whole = held.quantity.copy_abs()
    if closed == whole:
        return held.cost
    exact = _ROUND.divide(_ROUND.multiply(held.cost, closed), whole)
    return exact.quantize(_SHARE, context=_ROUND)


def _average(cost: Decimal, quantity: Decimal) -> Decimal:
    if not quantity:
        return _ZERO
    return _plain(_ROUND.divide(cost, quantity).quantize(_SHOWN, context=_ROUND))


def _plain(value: Decimal) -> Decimal:
    """Without trailing zeros and without an exponent: 1E+2 becomes 100, 71.3500 becomes 71.35, -0 becomes 0."""
    if not value:
        return _ZERO
    reduced = value.normalize(_EXACT)
    exponent = reduced.as_tuple().exponent
    return reduced.quantize(Decimal(1), context=_EXACT) if isinstance(exponent, int) and exponent > 0 else reduced


def _check(fill: Fill) -> None:
    for name, most in _MOST.items():
        value: Decimal = getattr(fill, name)
        if value.copy_abs() > most:
            raise UnbookableError(f"{name} {value} is beyond the {most} that is booked")
        exponent = value.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -_DECIMALS and value != value.quantize(_SHARE, context=_ROUND):
            raise UnbookableError(f"{name} has more than {_DECIMALS} decimals")


def _bounded(quantity: Decimal, *amounts: Decimal) -> None:
    if quantity.copy_abs() > _MOST["quantity"]:
        raise UnbookableError(f"the position would be {quantity}, beyond the {_MOST['quantity']} that is booked")
    if any(amount.copy_abs() > _MOST_MONEY for amount in amounts):
        raise UnbookableError(f"an amount of the position would be beyond the {_MOST_MONEY} that is booked")
