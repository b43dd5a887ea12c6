"""Unit conversion by UCUM code: the factors are pint's and UCUM's, computed once per point, exact in decimal.

``converted = value x factor + offset``, both with 28 digits; a value is converted exactly and rounded once, to the
nearest float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

LARGEST = 10**18
"""What exceeds this is recorded nowhere (schemas.base.Value)."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one unit to another."""

    factor: Fraction
    offset: Fraction

    def __call__(self, value: float) -> float | None:
        """The converted value; None when it is beyond what can be recorded."""
        exact = Fraction(value) * self.factor + self.offset
        return None if abs(exact) > LARGEST else float(exact)


@cache
def conversion(source: str, target: str) -> Conversion:
    """From UCUM code ``source`` to ``target``. Raises ValueError when one is no UCUM code or they measure other things.

    Only what is linear converts: ratios and temperatures do; logarithmic units (dB, pH) do not.
    """
    units = _registry()
    try:
        first, second = (units.from_ucum(code).units for code in (source, target))
    except Exception as error:
        raise ValueError(f"{source!r} or {target!r} is no UCUM unit that can be converted: {_line(error)}") from error
    try:
        nought, one, ten = (units.Quantity(Decimal(n), first).to(second).magnitude for n in (0, 1, 10))
    except Exception as error:
        raise ValueError(f"no conversion from {source} to {target}: {_line(error)}") from error
    factor, offset = Fraction(one) - Fraction(nought), Fraction(nought)
    if not math.isclose(float(Fraction(ten)), float(10 * factor + offset), rel_tol=1e-15, abs_tol=1e-300):
        raise ValueError(f"no conversion from {source} to {target}: it is not linear")
    return Conversion(factor, offset)


@cache
def is_ucum(code: str) -> bool:
    """Whether ``code`` can be UCUM; of nothing the contrary is known where the library is not installed."""
    try:
        from lark.exceptions import LarkError

        parser = _parser()
    except ImportError:
        return True
    try:
        parser.parse(code)
    except LarkError:
        return False
    return True


@cache
def _parser() -> Any:
    from ucumvert import get_ucum_parser

    return get_ucum_parser()


@cache
def _registry() -> Any:
    try:
        from ucumvert import PintUcumRegistry
    except ImportError as error:
        raise ValueError("source_unit needs a library: pip install 'gridtape[units]'") from error
    return PintUcumRegistry(non_int_type=Decimal)  # about a second: only when a unit is converted


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
