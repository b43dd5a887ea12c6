"""A venue's JSON to the feed contract's events, as the settings say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from connectors.market.contract.events import (
    Bad,
    Event,
    Phase,
    Quoted,
    Side,
    Snapshot,
    Trade,
    Update,
    price,
    size,
    time_of,
)
from connectors.market.websocket.config import JsonPath, Kind, Mapped, TimeFormat, WebSocketConfig, steps
from schemas.books import Trading

_decoder = msgspec.json.Decoder()
_SCALE = {TimeFormat.SECONDS: 10**6, TimeFormat.MILLIS: 10**3, TimeFormat.MICROS: 1}
_ABSENT = object()
MOST_LEVELS = 100_000


class Refusal(Bad):
    """The venue says that it will not serve us; the text is its own."""


def decode(raw: bytes | str) -> Any:
    """The JSON value. Raises Bad."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Bad(f"is no JSON: {error}") from error


class Mapper:
    """Reads messages. Raises Bad from :meth:`events` for one that cannot be used."""

    def __init__(self, config: WebSocketConfig) -> None:
        self._symbols: Mapping[str, str] = {one.called: one.instrument for one in config.instruments}
        self._only = config.instruments[0].instrument if len(config.instruments) == 1 else None
        self._kinds = [(one, [(steps(path), value) for path, value in one.when.items()]) for one in config.messages]
        self._time = config.time_format
        self._batched = config.batched
        self._contiguous = config.contiguous

    def events(self, message: Any, now: int) -> tuple[list[Event], int | None]:
        """The events of a message, and the number of one without events. ``now`` stands where it has no time."""
        if self._batched and isinstance(message, list):
            found: list[Event] = []
            number: int | None = None
            for one in message:
                events, other = self.events(one, now) if not isinstance(one, list) else ([], None)
                found += events
                number = other if other is not None else number
            return found, number
        for mapped, conditions in self._kinds:
            if all(_matches(_at(message, path), value) for path, value in conditions):
                return self._one(mapped, message, now)
        raise Bad("no message of the settings fits it")

    def snapshot(self, mapped: Mapped, message: Any, instrument: str, now: int) -> Snapshot:
        """An answer to a request for one instrument."""
        levels = self._levels(mapped, message)
        return Snapshot(
            instrument,
            [one for one in levels if one.size],
            self._stamp(mapped, message, now),
            _number(mapped.sequence, message),
        )

    def _one(self, mapped: Mapped, message: Any, now: int) -> tuple[list[Event], int | None]:
        kind = mapped.kind
        if kind is Kind.IGNORE:
            return [], None
        sequence = _number(mapped.sequence, message)
        if kind is Kind.HEARTBEAT:
            return [], sequence
        if kind is Kind.ERROR:
            raise Refusal(f"the venue says: {msgspec.json.encode(message).decode()[:500]}")
        at = self._stamp(mapped, message, now)
        if kind is Kind.TRADE and mapped.items is not None:
            trades: list[Event] = []
            for item in _list(mapped.items, message):
                name = self._instrument(
                    mapped, item if mapped.symbol and _at(item, mapped.symbol) is not _ABSENT else message
                )
                trades.append(
                    Trade(name, _price(mapped.price, item), _size(mapped.size, item), self._stamp(mapped, item, at))
                )
            return trades, sequence
        if kind is Kind.STATE:
            said = str(_at(message, mapped.state or ()))
            named = mapped.symbol is not None and _at(message, mapped.symbol) is not _ABSENT
            name_or_all = self._instrument(mapped, message) if named else None
            return [Phase(name_or_all, mapped.states.get(said, Trading.UNKNOWN))], sequence
        name = self._instrument(mapped, message)
        return [
            self._event(mapped, message, name, at, sequence if self._contiguous or kind is Kind.SNAPSHOT else None)
        ], None

    def _event(self, mapped: Mapped, message: Any, name: str, at: int, sequence: int | None) -> Event:
        if mapped.kind is Kind.TRADE:
            return Trade(name, _price(mapped.price, message), _size(mapped.size, message), at, sequence)
        if mapped.kind is Kind.SNAPSHOT:
            return self.snapshot(mapped, message, name, at)
        if mapped.kind is Kind.QUOTE:
            levels = []
            for side, path, amount in (
                (Side.BID, mapped.bid, mapped.bid_size),
                (Side.ASK, mapped.ask, mapped.ask_size),
            ):
                if path is not None and _at(message, path) not in (None, _ABSENT, ""):
                    levels.append(Quoted(side, _price(path, message), _size(amount, message, 1.0)))
            return Snapshot(name, levels, at, sequence)
        return Update(name, self._levels(mapped, message), at, sequence, _number(mapped.first, message))

    def _levels(self, mapped: Mapped, message: Any) -> list[Quoted]:
        found = []
        if mapped.items is not None:
            for item in _list(mapped.items, message):
                side = Side.BID if _at(item, mapped.item_side or ()) in mapped.buy_words else Side.ASK
                found.append(Quoted(side, _price(mapped.price, item), _size(mapped.size, item)))
        for side, path in ((Side.BID, mapped.bids), (Side.ASK, mapped.asks)):
            if path is not None:
                found += [
                    Quoted(side, _price(mapped.level_price, level), _size(mapped.level_size, level))
                    for level in _list(path, message)
                ]
        return found

    def _instrument(self, mapped: Mapped, message: Any) -> str:
        if mapped.symbol is None:
            if self._only is None:
                raise Bad("does not say which instrument it is about: its mapping has no symbol")
            return self._only
        said = _at(message, mapped.symbol)
        found = self._symbols.get(said) if isinstance(said, str) else None
        if found is None:
            raise Bad(f"the symbol {said!r:.80} is not configured")
        return found

    def _stamp(self, mapped: Mapped, message: Any, otherwise: int) -> int:
        if mapped.time is None or (said := _at(message, mapped.time)) in (None, _ABSENT):
            return otherwise
        try:
            if self._time is TimeFormat.ISO:
                when = datetime.fromisoformat(str(said))
                if when.tzinfo is None:
                    raise Bad(f"the time {said!r:.60} has no zone")
                return time_of(round(when.timestamp() * 1e6))
            number = Decimal(str(said))
            micros = number / 1000 if self._time is TimeFormat.NANOS else number * _SCALE[self._time]
            return time_of(int(micros)) if micros.is_finite() else time_of(float("nan"))
        except (ValueError, ArithmeticError) as error:
            raise Bad(f"the time {said!r:.60} is none: {error}") from error


def _at(value: Any, path: JsonPath) -> Any:
    """What stands at ``path``; ``_ABSENT`` when nothing does."""
    for step in path:
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return _ABSENT
            value = value[step]
        else:
            if not isinstance(value, list) or step >= len(value):
                return _ABSENT
            value = value[step]
    return value


def _matches(found: Any, wanted: str | float | bool) -> bool:
    """``*`` fits whatever is there."""
    return found is not _ABSENT if wanted == "*" else type(found) is type(wanted) and found == wanted


def _list(path: JsonPath, message: Any) -> Iterable[Any]:
    found = _at(message, path)
    if found in (None, _ABSENT):
        return ()
    if not isinstance(found, list):
        raise Bad("where levels or items are expected stands no list")
    if len(found) > MOST_LEVELS:
        raise Bad(f"more than {MOST_LEVELS} levels or items in one message")
    return found


def _float(path: JsonPath | None, message: Any, what: str) -> float:
    found = _at(message, path or ())
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        raise Bad(f"the {what} is missing or no number")
    try:
        return float(found)
    except (ValueError, OverflowError):
        raise Bad(f"the {what} {found!r:.60} is no number") from None


def _price(path: JsonPath | None, message: Any) -> float:
    return price(_float(path, message, "price"))


def _size(path: JsonPath | None, message: Any, otherwise: float = 0.0) -> float:
    return otherwise if path is None else size(_float(path, message, "size"))


def _number(path: JsonPath | None, message: Any) -> int | None:
    if path is None:
        return None
    found = _at(message, path)
    if isinstance(found, str) and found.isdigit() and len(found) <= 18:
        return int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**63:
        raise Bad(f"the sequence {found if found is not _ABSENT else 'is missing'!r:.60}: expected a whole number")
    return found
