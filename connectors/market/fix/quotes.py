"""Market data messages (V, W, X) to and from the feed contract's events. Pure. Source: FIX 4.4, volume 3."""

from __future__ import annotations

from collections.abc import Mapping

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
from connectors.market.fix import codec
from connectors.market.fix.codec import Message
from connectors.market.fix.config import FixConfig, FixInstrument
from connectors.market.fix.outputs import Pairs
from schemas.books import Trading

_SIDES: Mapping[bytes | None, Side] = {b"0": Side.BID, b"1": Side.ASK}
_TRADE = b"2"
_DELETE = b"2"
_STATUS = {b"1": Trading.HALTED, b"2": Trading.OPEN, b"3": Trading.CLOSED, b"4": Trading.AUCTION, b"5": Trading.AUCTION}
"""TradSesStatus (340)."""
_SECURITY = {b"2": Trading.HALTED, b"17": Trading.OPEN, b"18": Trading.CLOSED, b"21": Trading.AUCTION}
"""SecurityTradingStatus (326)."""


def request(config: FixConfig, one: FixInstrument, identity: str) -> Pairs:
    """A MarketDataRequest (V) that subscribes."""
    entries = [(269, "0"), (269, "1"), (269, "2")]
    fields: list[tuple[int, bytes | str | int]] = [(262, identity), (263, 1), (264, config.market_depth)]
    fields += [(265, 1 if config.update == "incremental" else 0), (267, len(entries)), *entries]
    return [*fields, *_related(one)]


def cancel(config: FixConfig, one: FixInstrument, identity: str) -> Pairs:
    """A MarketDataRequest (V) that ends the subscription ``identity``."""
    entries = [(269, "0"), (269, "1"), (269, "2")]
    fields: list[tuple[int, bytes | str | int]] = [(262, identity), (263, 2), (264, config.market_depth)]
    return [*fields, (267, len(entries)), *entries, *_related(one)]


def _related(one: FixInstrument) -> Pairs:
    fields: list[tuple[int, bytes | str | int]] = [(146, 1), (55, one.called)]
    if one.security_id is not None and one.id_source is not None:
        fields += [(48, one.security_id), (22, one.id_source)]
    return fields


class Reader:
    """Reads W, X, h and f. ``symbols``: the venue's name to ours. ``numbered``: RptSeq (83) is to be used."""

    def __init__(self, symbols: Mapping[str, str], *, numbered: bool) -> None:
        self._symbols = {symbol.encode(): instrument for symbol, instrument in symbols.items()}
        self._numbered = numbered

    def read(self, message: Message, requested: str | None) -> list[Event]:
        """The events of a message. ``requested``: the instrument that its MDReqID (262) was for. Raises Bad."""
        kind = message.kind
        try:
            if kind == b"W":
                return self._snapshot(message, requested)
            if kind == b"X":
                return self._increments(message, requested)
            if kind == b"h":
                return [Phase(None, _STATUS.get(message.first.get(340, b""), Trading.UNKNOWN))]
            if kind == b"f":
                instrument = self._instrument(message.get(55), requested)
                return [Phase(instrument, _SECURITY.get(message.first.get(326, b""), Trading.UNKNOWN))]
        except (ValueError, OverflowError) as error:
            raise Bad(str(error)) from error
        return []

    def _snapshot(self, message: Message, requested: str | None) -> list[Event]:
        instrument = self._instrument(message.get(55), requested)
        stamp = _stamp(message)
        levels: list[Quoted] = []
        trades: list[Event] = []
        for entry in _entries(message, 269):
            at = _time(entry, stamp)
            kind = entry.get(269)
            if kind in _SIDES:
                identity = entry.get(278, b"").decode("latin-1")
                levels.append(Quoted(_SIDES[kind], _price(entry), _size(entry, 1.0), identity))
            elif kind == _TRADE:
                trades.append(Trade(instrument, _price(entry), _size(entry, 0.0), at))
        sequence = message.number(83) if self._numbered else None
        # The trade first, so that one tick shows the whole state: it waits in the feed until the book is known.
        return [*trades[-1:], Snapshot(instrument, [one for one in levels if one.size], stamp, sequence)]

    def _increments(self, message: Message, requested: str | None) -> list[Event]:
        stamp = _stamp(message)
        events: list[Event] = []
        changes: list[Quoted] = []
        numbers: list[int] = []
        last: bytes | None = None
        current = ""
        newest = 0

        def flush() -> None:
            if changes or numbers:
                first, sequence = (min(numbers), max(numbers)) if numbers else (None, None)
                events.append(Update(current, tuple(changes), newest, sequence, first))
                changes.clear()
                numbers.clear()

        for entry in _entries(message, 279):
            symbol = entry.get(55, last)
            if symbol != last or not current:
                instrument = self._instrument(symbol, requested)
                if instrument != current:
                    flush()
                    current = instrument
                last = symbol
            at = _time(entry, stamp) if 273 in entry else stamp
            number = int(entry[83]) if self._numbered and 83 in entry else None
            side = _SIDES.get(kind := entry.get(269))
            if kind == _TRADE and entry[279] != _DELETE:
                flush()
                events.append(Trade(current, _price(entry), _size(entry, 0.0), at, number))
                continue
            newest = at if at > newest or not (changes or numbers) else newest
            if number is not None:
                numbers.append(number)  # what else the venue tells is counted, too
            if side is not None:
                changes.append(_change(side, entry))
        flush()
        return events

    def _instrument(self, symbol: bytes | None, requested: str | None) -> str:
        found = self._symbols.get(symbol) if symbol is not None else requested
        if found is None:
            raise Bad(f"the symbol {symbol!r:.80} is not configured")
        return found


def _entries(message: Message, delimiter: int) -> list[dict[int, bytes]]:
    """The repeating group behind NoMDEntries (268), each entry beginning with ``delimiter``. Raises Bad."""
    fields = message.fields
    said = message.first.get(268, b"")
    if not said.isdigit():
        raise Bad("NoMDEntries (268) is missing")
    tags = [tag for tag, _ in fields]
    found = tags.count(delimiter)
    if found != int(said):
        raise Bad(f"NoMDEntries (268) is {int(said)}, but there are {found} entries")
    if not found:
        return []
    begin = tags.index(delimiter)
    if tags[begin - 1] != 268:
        raise Bad("the entries do not begin behind NoMDEntries (268)")
    entries = []
    for _ in range(found - 1):
        end = tags.index(delimiter, begin + 1)
        entries.append(dict(fields[begin:end]))
        begin = end
    entries.append(dict(fields[begin:]))
    return entries


def _change(side: Side, entry: dict[int, bytes]) -> Quoted:
    """New and change give price and size; a delete needs the order's id or the price."""
    identity = entry[278].decode("latin-1") if 278 in entry else ""
    deleted = entry[279] == _DELETE
    at = None if 270 not in entry and (deleted or identity) else _price(entry)
    return Quoted(side, at, 0.0 if deleted else _size(entry, 1.0), identity)


def _price(entry: dict[int, bytes]) -> float:
    if 270 not in entry:
        raise Bad("an entry without MDEntryPx (270)")
    return price(float(entry[270]))


def _size(entry: dict[int, bytes], otherwise: float) -> float:
    return size(float(entry[271])) if 271 in entry else otherwise


def _stamp(message: Message) -> int:
    """The time of the message: TransactTime (60), else SendingTime (52), of a repeat OrigSendingTime (122)."""
    first = message.first
    value = first.get(60) or (first.get(122) if message.flag(43) else None) or first.get(52, b"")
    return time_of(codec.time_of(value))


def _time(entry: dict[int, bytes], stamp: int) -> int:
    """MDEntryDate (272) and MDEntryTime (273), else the time of the message."""
    if 273 in entry and 272 in entry:
        return time_of(codec.time_of(entry[272] + b"-" + entry[273]))
    return stamp
