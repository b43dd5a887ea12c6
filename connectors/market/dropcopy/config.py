"""Settings of the drop copy: the section ``[[drop_copy]]``."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from connectors.fields import Name, Section
from connectors.market.common import distinct
from connectors.market.fix.config import FixSession


def _decimal(value: Any) -> Any:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError('expected a decimal number as text, for example "0.01": a binary one would not be exact')  # noqa: TRY004 - pydantic reports ValueError
    return value


Factor = Annotated[
    Decimal, BeforeValidator(_decimal), Field(gt=0, le=1_000_000_000, max_digits=18, allow_inf_nan=False)
]


class Traded(Section):
    """One instrument. ``contract_size``: quantity units in one of the venue's; ``price_factor``: our price per the
    venue's. Both are exact. ``currency``: that of the fills; a report in another one is refused."""

    instrument: Name
    symbol: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    contract_size: Factor = Decimal(1)
    price_factor: Factor = Decimal(1)
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]

    @property
    def called(self) -> str:
        """The venue's name of it."""
        return self.symbol or self.instrument


class Account(Section):
    """Which book an account's fills belong to."""

    account: Annotated[str, Field(min_length=1, max_length=200)]
    book: Name


class DropCopyConfig(FixSession):
    """Executions over a FIX 4.4 drop copy. ``venue``: as it stands in the fills.

    ``accounts``: Account (1) to book; ``default_book``: for reports without account; ``ignore_accounts``: of others.
    ``report_fees``: take Commission (12) and MiscFees (137).
    """

    venue: Name
    instruments: Annotated[tuple[Traded, ...], Field(min_length=1, max_length=10_000)]
    accounts: tuple[Account, ...] = ()
    default_book: Name | None = None
    ignore_accounts: tuple[str, ...] = ()
    report_fees: bool = True

    @model_validator(mode="after")
    def _usable(self) -> Self:
        distinct(self.instruments)
        names = [one.account for one in self.accounts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"accounts named twice: {', '.join(twice)}; every account once")
        if both := sorted(set(names) & set(self.ignore_accounts)):
            raise ValueError(f"accounts both booked and ignored: {', '.join(both)}")
        if not names and self.default_book is None:
            raise ValueError("names no book: give accounts or default_book")
        return self
