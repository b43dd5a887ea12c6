from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.holdings import FLAT, UnbookableError, book
from schemas.base import Coordinates, Side

AT = Coordinates(topic="fills", partition=0, offset=0)
quantities = st.decimals("0.001", "100000", places=3)
prices = st.decimals("-500", "500", places=4)
fees = st.decimals("-5", "50", places=2)
trades = st.lists(st.tuples(st.sampled_from(Side), quantities, prices, fees), max_size=40)


def played(make, trades):
    held = FLAT
    for number, (side, quantity, price, fee) in enumerate(trades):
        held = book(held, make.fill(number, side, quantity, price, fee=fee), AT)
    return held


@given(trades)
def test_holding_when_any_fills_are_booked_keeps_the_cash_identity_exactly(make, trades):
    held = played(make, trades)
    cash = sum((-side.sign * Fraction(quantity) * Fraction(price) for side, quantity, price, _ in trades), Fraction(0))
    assert Fraction(held.realised) - Fraction(held.cost) == cash
    assert Fraction(held.quantity) == sum((s.sign * Fraction(q) for s, q, _, _ in trades), Fraction(0))
    assert Fraction(held.fees) == sum((Fraction(fee) for *_, fee in trades), Fraction(0))
    assert held.fills == len(trades)


@given(trades)
def test_holding_when_any_fills_are_booked_agrees_with_average_cost_in_fractions(make, trades):
    """An independent reference: unbounded fractions, average instead of cost, one unit of logic per case."""
    quantity = average = realised = Fraction(0)
    for side, size, price, _ in trades:
        signed, paid = side.sign * Fraction(size), Fraction(price)
        if quantity * signed >= 0:
            average = (quantity * average + signed * paid) / (quantity + signed)
        else:
            closed = min(abs(quantity), abs(signed))
            realised += closed * (paid - average) * (1 if quantity > 0 else -1)
            if abs(signed) > abs(quantity):
                average = paid
            elif quantity + signed == 0:
                average = Fraction(0)
        quantity += signed
    held = played(make, trades)
    assert Fraction(held.quantity) == quantity
    # each partial closing rounds once, by at most half of 1e-12 of the currency
    assert abs(Fraction(held.realised) - realised) <= Fraction(len(trades), 10**12)
    assert abs(Fraction(held.cost) - quantity * average) <= Fraction(len(trades), 10**12)


@given(trades)
def test_holding_when_it_is_flat_has_no_cost_left(make, trades):
    held = played(make, trades)
    if held.quantity:
        side = Side.SELL if held.quantity > 0 else Side.BUY
        held = book(held, make.fill("last", side, abs(held.quantity), 3), AT)
    assert (held.quantity, held.cost, held.average) == (0, 0, 0)


def test_holding_when_it_crosses_zero_opens_the_rest_at_the_price_of_the_fill(make):
    held = played(
        make, [(Side.BUY, Decimal(10), Decimal(70), Decimal(1)), (Side.SELL, Decimal(25), Decimal(72), Decimal(1))]
    )
    assert (held.quantity, held.average, held.realised, held.fees) == (-15, 72, 20, 2)


def test_holding_when_a_third_is_closed_shows_the_average_it_had(make):
    held = played(
        make,
        [
            (Side.BUY, Decimal(1), Decimal(3), 0),
            (Side.BUY, Decimal(2), Decimal("3.5"), 0),
            (Side.SELL, Decimal(1), Decimal(4), 0),
        ],
    )
    assert held.average == Decimal("3.3333333333")
    assert held.realised == Decimal("0.666666666667")
    assert held.realised - held.cost == Decimal(-6)


def test_holding_when_published_has_neither_exponent_nor_trailing_zeros(make):
    held = played(make, [(Side.BUY, Decimal("1E+3"), Decimal("70.5000"), Decimal("0.00"))])
    assert [str(value) for value in (held.quantity, held.cost, held.average, held.fees)] == [
        "1000",
        "70500",
        "70.5",
        "0",
    ]


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"quantity": "1E+999999"}, "quantity 1E+999999 is beyond"),
        ({"price": "-1E+10"}, "price -1E.10 is beyond"),
        ({"fee": "1E+13"}, "fee 1E.13 is beyond"),
        ({"quantity": "1E-999999"}, "more than 12 decimals"),
        ({"price": "0.0000000000001"}, "more than 12 decimals"),
        ({"quantity": "999999999", "price": "999999999"}, "amount of the position"),
    ],
)
def test_holding_when_a_figure_is_out_of_range_refuses_the_fill(make, figures, reason):
    with pytest.raises(UnbookableError, match=reason.replace("+", r"\+")):
        book(FLAT, make.fill(1, Side.BUY, **{"quantity": "1", "price": "1", **figures}), AT)


def test_holding_when_the_sum_would_be_out_of_range_refuses_the_fill(make):
    held = book(FLAT, make.fill(1, Side.BUY, "999999999", "0.001"), AT)
    with pytest.raises(UnbookableError, match="the position would be"):
        book(held, make.fill(2, Side.BUY, "2", "1"), AT)
