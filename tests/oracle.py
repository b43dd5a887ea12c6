"""Independent readings of definitions, to hold the system's own results against."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from schemas.fills import Fill


def realised(fills: list[Fill]) -> tuple[Decimal, Fraction]:
    """Quantity and realised P&L by average cost, in exact fractions."""
    quantity, cost, profit = Fraction(0), Fraction(0), Fraction(0)
    for fill in fills:
        signed, price = fill.side.sign * Fraction(fill.quantity), Fraction(fill.price)
        closing = min(abs(signed), abs(quantity)) if signed * quantity < 0 else Fraction(0)
        if closing:
            average = cost / quantity
            direction = 1 if quantity > 0 else -1
            profit += closing * (price - average) * direction
            quantity -= closing * direction
            cost = quantity * average
            signed += closing * direction
        quantity += signed
        cost += signed * price
    return Decimal(quantity.numerator) / quantity.denominator, profit
