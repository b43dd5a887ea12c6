"""What a rule looks at, as keys and as words."""

from __future__ import annotations

from schemas.base import key_of
from schemas.rules import Operand, PriceOf

TELEMETRY = "telemetry"
PRICE = "price"


def operand_key(operand: Operand) -> str:
    """``telemetry|device|point`` or ``price|instrument``; after the rule and ``|`` it is an observation's key."""
    if isinstance(operand, PriceOf):
        return key_of(PRICE, operand.instrument)
    return key_of(TELEMETRY, operand.device, operand.point)


def operand_name(operand: Operand) -> str:
    """``wind-1/output_mw`` or ``price of WTI``."""
    return f"price of {operand.instrument}" if isinstance(operand, PriceOf) else f"{operand.device}/{operand.point}"
