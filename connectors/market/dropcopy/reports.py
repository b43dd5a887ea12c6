"""ExecutionReports (35=8) as what they say about executions. Pure. Source: FIX 4.4, volume 4, ExecutionReport."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from connectors.market.contract.events import Bad, time_of
from connectors.market.dropcopy.config import DropCopyConfig, Traded
from connectors.market.fix import codec
from connectors.market.fix.codec import Message
from schemas.base import Side

_NUMBER = re.compile(rb"-?[0-9]{1,18}(\.[0-9]{0,12})?")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@-")
_SIDES = {b"1": Side.BUY, b"2": Side.SELL, b"5": Side.SELL, b"6": Side.SELL}
"""Side (54): buy, sell, sell short, sell short exempt."""
_IDENTIFIER_LIMIT = 200


class Kind(enum.Enum):
    """ExecType (150) of what concerns positions."""

    TRADE = b"F"
    CORRECTION = b"G"
    CANCEL = b"H"


@dataclass(frozen=True, slots=True)
class Report:
    """One execution, its correction or its cancellation (bust). ``day``: trade date, 20261121.

    ``reference``: ExecRefID (19), the execution that is corrected or cancelled. Numbers are in our units, exact.
    """

    kind: Kind
    execution: str
    reference: str
    day: str
    order: str
    book: str
    instrument: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    currency: str
    event_time: int

    @property
    def digest(self) -> str:
        """What makes two reports of one execution the same."""
        said = (self.kind, self.reference, self.book, self.instrument, self.quantity, self.price, self.fee)
        return hashlib.blake2b("|".join(map(str, said)).encode(), digest_size=8).hexdigest()


def identifier(*parts: str) -> str:
    """The parts as one ``schemas.base.Identifier``, injective: what an identifier may not hold is written ``+hex``.

    What is longer than an identifier may be ends in a digest of the whole.
    """
    text = "/".join("".join(c if c in _PLAIN else f"+{ord(c):02X}" for c in part) for part in parts)
    if len(text) <= _IDENTIFIER_LIMIT:
        return text
    return f"{text[: _IDENTIFIER_LIMIT - 41]}/{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def read(message: Message, config: DropCopyConfig) -> Report | None:
    """What a report says about positions; None for a state of an order, or an account that is to be ignored.

    Raises Bad with what cannot be booked and why.
    """
    try:
        kind = Kind(message.get(150))
    except ValueError:
        return None
    account = message.text(1)
    if account in config.ignore_accounts:
        return None
    listed = _listed(message, config)
    side = _SIDES.get(message.first.get(54, b""))
    if side is None:
        raise Bad(f"Side (54) is {message.text(54)!r:.20}; expected 1, 2, 5 or 6")
    execution = message.text(17)
    if not execution:
        raise Bad("ExecID (17) is missing")
    reference = message.text(19)
    if kind is not Kind.TRADE and not reference:
        raise Bad("a correction or cancellation without ExecRefID (19)")
    # A cancellation speaks of another execution; its own numbers are not booked.
    booked = kind is not Kind.CANCEL
    lots = _decimal(message, 32) if booked else Decimal(0)
    if booked and lots <= 0:
        raise Bad(f"LastQty (32) is {lots}; expected more than 0")
    currency = message.text(15) or listed.currency
    if currency != listed.currency:
        raise Bad(f"Currency (15) is {currency:.20}; {listed.instrument} is configured in {listed.currency}")
    event_time = _time(message)
    return Report(
        kind=kind,
        execution=execution,
        reference=reference,
        day=message.text(75) or codec.time_text(event_time)[:8],
        order=identifier(message.text(37) or message.text(11) or execution),
        book=_book(account, config),
        instrument=listed.instrument,
        side=side,
        quantity=lots * listed.contract_size,
        price=_decimal(message, 31) * listed.price_factor if booked else Decimal(0),
        fee=sum(_fees(message, lots, currency), Decimal(0)) if booked and config.report_fees else Decimal(0),
        currency=currency,
        event_time=event_time,
    )


def _listed(message: Message, config: DropCopyConfig) -> Traded:
    symbol = message.text(55)
    for one in config.instruments:
        if one.called == symbol:
            return one
    raise Bad(f"Symbol (55) {symbol!r:.80} is not configured under instruments")


def _book(account: str, config: DropCopyConfig) -> str:
    if not account and config.default_book is not None:
        return config.default_book
    for one in config.accounts:
        if one.account == account:
            return one.book
    raise Bad(f"Account (1) {account!r:.80} belongs to no book; add it to accounts or to ignore_accounts")


def _time(message: Message) -> int:
    try:
        return time_of(codec.time_of(message.first.get(60) or message.first.get(52, b"")))
    except (ValueError, UnicodeDecodeError) as error:
        raise Bad(f"TransactTime (60): {error}") from error


def _decimal(message: Message, tag: int) -> Decimal:
    value = message.get(tag)
    if value is None:
        raise Bad(f"tag {tag} is missing")
    return _number(value, tag)


def _number(value: bytes, tag: int) -> Decimal:
    if not _NUMBER.fullmatch(value):
        raise Bad(f"tag {tag} is {value!r:.60}; expected a decimal number of at most 18 and 12 digits")
    return Decimal(value.decode())


def _fees(message: Message, lots: Decimal, currency: str) -> Iterator[Decimal]:
    """Commission and each miscellaneous fee; a share of the value is refused, since of what is not said exactly."""
    if 12 in message.first:
        if message.text(479) not in ("", currency):
            raise Bad(f"CommCurrency (479) is {message.text(479):.20}, the fill is in {currency}")
        yield _amount(_decimal(message, 12), message.text(13) or "3", lots, {"1": True, "3": False}, "CommType (13)")
    fee: dict[int, bytes] = {}
    for tag, value in (*message.fields, (137, b"")):
        if tag == 137 and 137 in fee:
            if fee.get(138, currency.encode()) != currency.encode():
                raise Bad(f"MiscFeeCurr (138) is {fee[138]!r:.20}, the fill is in {currency}")
            basis = fee.get(891, b"0").decode("latin-1")
            yield _amount(_number(fee[137], 137), basis, lots, {"0": False, "1": True}, "MiscFeeBasis (891)")
            fee = {}
        if tag in (137, 138, 891):
            fee[tag] = value


def _amount(value: Decimal, basis: str, lots: Decimal, known: dict[str, bool], what: str) -> Decimal:
    if basis not in known:
        raise Bad(f"{what} is {basis!r:.20}; only absolute amounts and amounts per unit can be booked exactly")
    return value * lots if known[basis] else value
