"""Sums over a book's positions that are exact, so that they do not depend on the order in which positions change.

Every amount is rounded once to a millionth of its currency and then summed as an integer: adding a position and taking
it away again leaves nothing behind, and a book of a thousand positions costs no more per change than a book of one.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from schemas.base import Coordinates
from schemas.limits import Measure
from schemas.positions import Position

MILLIONTHS = 1_000_000
MOST = 10**18 * MILLIONTHS
"""Beyond this (in millionths) an amount does not fit the Value of a record."""
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Held(msgspec.Struct, frozen=True, gc=False):
    """A position as last read, and where."""

    position: Position
    at: Coordinates


class Amounts(msgspec.Struct, frozen=True, gc=False):
    """What one position weighs, in millionths. ``value`` and ``unrealised`` are None while it cannot be known."""

    value: int | None
    unrealised: int | None
    realised: int
    fees: int


class Totals(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The sums of a book in one currency, in millionths; unknown positions are left out and named."""

    gross: int = 0
    net: int = 0
    unrealised: int = 0
    realised: int = 0
    fees: int = 0
    positions: int = 0
    unknown: list[str] = []
    event_time: int = 0
    receive_time: int = 0


EMPTY = Totals()


def amounts(position: Position) -> Amounts:
    """What ``position`` weighs. A flat one weighs nothing, whatever its mark."""
    realised, fees = _millionths(position.realised_pnl), _millionths(position.fees)
    if not position.quantity:
        return Amounts(0, 0, realised, fees)
    if position.market_value is None or position.unrealised_pnl is None:
        return Amounts(None, None, realised, fees)
    return Amounts(
        round(position.market_value * MILLIONTHS), round(position.unrealised_pnl * MILLIONTHS), realised, fees
    )


def changed(totals: Totals, position: Position, sign: int) -> Totals:
    """``totals`` with ``position`` added (``sign`` 1) or taken away (-1). Raises OverflowError beyond 1e18."""
    weight = amounts(position)
    value = sign * (weight.value or 0)
    unknown = totals.unknown
    if weight.value is None:
        others = [name for name in unknown if name != position.instrument]
        unknown = sorted([*others, position.instrument]) if sign > 0 else others
    after = Totals(
        gross=totals.gross + sign * abs(weight.value or 0),
        net=totals.net + value,
        unrealised=totals.unrealised + sign * (weight.unrealised or 0),
        realised=totals.realised + sign * weight.realised,
        fees=totals.fees + sign * weight.fees,
        positions=totals.positions + (sign if position.quantity else 0),
        unknown=unknown,
        event_time=max(totals.event_time, position.event_time),
        receive_time=max(totals.receive_time, position.receive_time),
    )
    if max(after.gross, abs(after.unrealised), abs(after.realised), abs(after.fees)) > MOST:
        raise OverflowError(f"the sums of book {position.book} in {position.currency} would be beyond 1e18")
    return after


def of_totals(measure: Measure, totals: Totals) -> int | None:
    """A measure of the whole book in millionths; None while a position in it is unknown."""
    if totals.unknown:
        return None
    if measure is Measure.GROSS:
        return totals.gross
    if measure is Measure.NET:
        return abs(totals.net)
    return totals.fees - totals.realised - totals.unrealised


def of_position(measure: Measure, currency: str, position: Position | None) -> int | None:
    """A measure of one position alone, in millionths; 0 without one, None when unknown or in another currency."""
    if position is None:
        return 0
    weight = amounts(position)
    if position.currency != currency or weight.value is None or weight.unrealised is None:
        return None
    if measure is Measure.LOSS:
        return weight.fees - weight.realised - weight.unrealised
    return abs(weight.value)


def _millionths(value: Decimal) -> int:
    return int(value.scaleb(6, context=_CONTEXT).to_integral_value(context=_CONTEXT))
