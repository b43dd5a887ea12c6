"""A venue's JSON to the feed contract's events, as the settings say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.market.contract.events import Bad, Event, Phase, Quoted, Side, Snapshot, Trade, Update
from connectors.market.contract.spec import Scope
from connectors.market.values import micros_of, price_of, sequence_of, size_of
from connectors.market.websocket.config import JsonPath, Kind, Mapped, WebSocketConfig, steps
from connectors.market.websocket.paths import ABSENT, Getter, getter, items_of, matches
from schemas.books import Trading

_decoder = msgspec.json.Decoder()


class Refusal(Bad):
    """The venue says that it will not serve us; the text is its own."""


def decode(raw: bytes | str) -> Any:
    """The JSON value. Raises Bad."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Bad(f"is no JSON: {error}") from error


class _Rule:
    """One kind of message, with its paths as functions; None where the settings name no path."""

    def __init__(self, mapped: Mapped) -> None:
        self.kind = mapped.kind
        self.states = mapped.states
        self.buy_words = frozenset(mapped.buy_words)
        self._conditions = [(getter(steps(path)), value) for path, value in mapped.when.items()]
        self.symbol, self.time = _optional(mapped.symbol), _optional(mapped.time)
        self.sequence, self.first = _optional(mapped.sequence), _optional(mapped.first)
        self.sides = [
            (side, getter(path))
            for side, path in ((Side.BID, mapped.bids), (Side.ASK, mapped.asks))
            if path is not None
        ]
        self.level_price, self.level_size = getter(mapped.level_price), getter(mapped.level_size)
        self.items, self.item_side = _optional(mapped.items), getter(mapped.item_side or ())
        self.price, self.size = getter(mapped.price or ()), _optional(mapped.size)
        self.quotes = [
            (side, getter(path), _optional(amount))
            for side, path, amount in ((Side.BID, mapped.bid, mapped.bid_size), (Side.ASK, mapped.ask, mapped.ask_size))
            if path is not None
        ]
        self.state = getter(mapped.state or ())

    def fits(self, message: Any) -> bool:
        """Whether ``message`` is of this kind."""
        for get, wanted in self._conditions:  # noqa: SIM110 - a generator costs as much as the comparison
            if not matches(get(message), wanted):
                return False
        return True


def _optional(path: JsonPath | None) -> Getter | None:
    return None if path is None else getter(path)


class Mapper:
    """Reads messages. Raises Bad for one that cannot be used."""

    def __init__(self, config: WebSocketConfig) -> None:
        self._symbols: Mapping[str, str] = {one.called: one.instrument for one in config.instruments}
        self._only = config.instruments[0].instrument if len(config.instruments) == 1 else None
        self._rules = [_Rule(one) for one in config.messages]
        answer = config.snapshot.answer if config.snapshot is not None else None
        self._answer = None if answer is None else _Rule(answer)
        self._time = config.time_format
        self._batched = config.batched
        self._contiguous = config.contiguous
        # Numbers of an instrument that only rise tell at least which of two snapshots is older.
        self._ordered = config.contiguous or config.scope is Scope.INSTRUMENT

    def events(self, message: Any, now: int) -> tuple[list[Event], int | None]:
        """The events of a message, and a number that none of them bears. ``now`` stands where it has no time."""
        if self._batched and type(message) is list:
            found: list[Event] = []
            number: int | None = None
            for one in message:
                events, other = self.events(one, now) if type(one) is not list else ([], None)
                found += events
                number = other if other is not None else number
            return found, number
        for rule in self._rules:
            if rule.fits(message):
                return self._read(rule, message, now)
        raise Bad("no message of the settings fits it")

    def answer(self, message: Any, instrument: str, now: int) -> Snapshot:
        """What came from the address for snapshots, about one instrument."""
        if self._answer is None:
            raise Bad("the settings have no address for snapshots")
        rule = self._answer
        sequence = None if rule.sequence is None else sequence_of(rule.sequence(message))
        return self._snapshot(rule, message, instrument, self._stamp(rule, message, now), sequence)

    def _read(self, rule: _Rule, message: Any, now: int) -> tuple[list[Event], int | None]:
        kind = rule.kind
        if kind is Kind.IGNORE:
            return [], None
        if kind is Kind.ERROR:
            raise Refusal(f"the venue says: {msgspec.json.encode(message).decode()[:500]}")
        sequence = None if rule.sequence is None else sequence_of(rule.sequence(message))
        if kind is Kind.HEARTBEAT:
            return [], sequence
        counted = sequence if self._contiguous else None
        if kind is Kind.STATE:
            named = rule.symbol is not None and rule.symbol(message) is not ABSENT
            trading = rule.states.get(str(rule.state(message)), Trading.UNKNOWN)
            return [Phase(self._instrument(rule, message) if named else None, trading)], counted
        at = self._stamp(rule, message, now)
        if kind is Kind.TRADE and rule.items is not None:
            trades = self._trades(rule, message, rule.items, at, counted)
            return trades, None if trades else counted
        name = self._instrument(rule, message)
        if kind is Kind.UPDATE:
            first = None if rule.first is None else sequence_of(rule.first(message))
            return [Update(name, self._levels(rule, message), at, counted, first)], None
        if kind is Kind.TRADE:
            return [self._trade(rule, message, name, at, counted)], None
        if kind is Kind.SNAPSHOT:
            return [self._snapshot(rule, message, name, at, sequence if self._ordered else None)], None
        return [Snapshot(name, self._quotes(rule, message), at, counted, counted)], None

    def _trades(self, rule: _Rule, message: Any, items: Getter, at: int, sequence: int | None) -> list[Event]:
        """Each with its own symbol and time, or those of the message; the first of an instrument bears its number."""
        found: list[Event] = []
        named: set[str] = set()
        for item in items_of(items(message)):
            own = rule.symbol is not None and rule.symbol(item) is not ABSENT
            name = self._instrument(rule, item if own else message)
            number = None if name in named else sequence
            named.add(name)
            found.append(self._trade(rule, item, name, self._stamp(rule, item, at), number))
        return found

    def _trade(self, rule: _Rule, item: Any, name: str, at: int, sequence: int | None) -> Trade:
        amount = 0.0 if rule.size is None else size_of(rule.size(item))
        return Trade(name, price_of(rule.price(item)), amount, at, sequence)

    def _snapshot(self, rule: _Rule, message: Any, name: str, at: int, sequence: int | None) -> Snapshot:
        return Snapshot(name, [one for one in self._levels(rule, message) if one.size], at, sequence)

    def _quotes(self, rule: _Rule, message: Any) -> list[Quoted]:
        found = []
        for side, get, amount in rule.quotes:
            said = get(message)
            if said is not None and said is not ABSENT and said != "":
                found.append(Quoted(side, price_of(said), 1.0 if amount is None else size_of(amount(message))))
        return found

    def _levels(self, rule: _Rule, message: Any) -> list[Quoted]:
        found = []
        if rule.items is not None:
            for item in items_of(rule.items(message)):
                said = rule.item_side(item)
                side = Side.BID if type(said) is str and said in rule.buy_words else Side.ASK
                amount = 0.0 if rule.size is None else size_of(rule.size(item))
                found.append(Quoted(side, price_of(rule.price(item)), amount))
        at_price, at_size = rule.level_price, rule.level_size
        for side, get in rule.sides:
            found += [
                Quoted(side, price_of(at_price(level)), size_of(at_size(level))) for level in items_of(get(message))
            ]
        return found

    def _instrument(self, rule: _Rule, message: Any) -> str:
        if rule.symbol is None:
            if self._only is None:
                raise Bad("does not say which instrument it is about: its mapping has no symbol")
            return self._only
        said = rule.symbol(message)
        found = self._symbols.get(said) if type(said) is str else None
        if found is None:
            raise Bad(f"the symbol {said!r:.80} is not configured")
        return found

    def _stamp(self, rule: _Rule, message: Any, otherwise: int) -> int:
        said = None if rule.time is None else rule.time(message)
        return otherwise if said is None or said is ABSENT else micros_of(said, self._time)
