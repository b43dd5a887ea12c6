"""FIX: quickfix as a venue whose books count, and as one that tells of a fill after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.market.fix.codec import time_text
from schemas.fills import Fill
from streams.local.service import free_port
from tests.integration.connectors.market.fixpeer import Peer
from tests.performance.connectors.away.counting import Books, Found, Timetable, said, timetable
from tests.performance.connectors.figures import Figure, beside, listens

_SYMBOLS = [f"F{n}" for n in range(20)]
_VENUE = "FIX"
_FILLS = Timetable(0, 500_000)
_SESSION = {"host": "127.0.0.1", "sender": "HOUSE", "target": "VENUE", "venue": _VENUE}


class MarketData(Books):
    """While nobody reads, the venue keeps what it has to say; what a new session leaves out must lie in a gap."""

    def __init__(self) -> None:
        super().__init__(_VENUE, _SYMBOLS, "FIX changes")
        self._port = free_port()
        self._folder = Path()

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """The venue."""
        self._folder = folder
        with beside(_quote, self._port, self._table, folder / "quotes"):
            listens("127.0.0.1", self._port)
            yield

    def settings(self) -> dict[str, Any]:
        """Heartbeats, tolerances and bounds are those that a session has by itself."""
        instruments = [{"instrument": symbol} for symbol in _SYMBOLS]
        one = {**_SESSION, "name": "quotes", "port": self._port, "store": self._folder / "quotes.db"}
        return {"fix": [{**one, "instruments": instruments}]}


class DropCopy:
    """``fills``: so many are told of, one after the other. Each must be there, once."""

    def __init__(self, fills: int) -> None:
        self._table = timetable(500_000)
        self._wanted = fills
        self._times: dict[int, int] = {}
        self._port = free_port()
        self._folder = Path()
        self._again = self._wrong = 0

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """The venue."""
        self._folder = folder
        with beside(_trade, self._port, self._table, folder / "trades", self._wanted):
            listens("127.0.0.1", self._port)
            yield

    def settings(self) -> dict[str, Any]:
        """Heartbeats, tolerances and bounds are those that a session has by itself."""
        instruments = [{"instrument": "F0", "currency": "USD"}]
        one = {**_SESSION, "name": "house", "port": self._port, "store": self._folder / "trades.db"}
        return {"drop_copy": [{**one, "default_book": "desk", "instruments": instruments}]}

    def take(self, record: Found) -> None:
        """A price says the number of the fill, as its id does."""
        if not isinstance(record, Fill):
            return
        number = int(record.price) - 1
        self._again += number in self._times
        self._times[number] = record.event_time
        named = record.fill_id.split("/")[2] == f"E{number}" and record.instrument == "F0"
        self._wrong += not named or record.event_time != self._table.due(number)

    def complete(self) -> bool:
        """Every fill is there."""
        return len(self._times) == self._wanted

    def figures(self) -> list[Figure]:
        """Of the fills."""
        return [
            Figure(what="fills missing", value=self._wanted - len(self._times), unit="", most=0),
            Figure(what="fills that are there twice", value=self._again, unit="", most=0),
            Figure(what="fills under a wrong name or time", value=self._wrong, unit="", most=0),
        ]


def _quote(port: int, table: Timetable, folder: Path) -> None:
    """Answers each subscription with the book as it is, and tells those that have theirs of every change."""
    asked: dict[str, str] = {}
    seen = 0
    with Peer(folder, port) as peer:
        for number in table.numbers():
            at = time_text(table.due(number))
            told = list(asked)
            while seen < len(peer.requests):
                request = peer.requests[seen]
                seen += 1
                if request["35"] == "V" and request["263"] == "1":
                    asked[request["55"]] = request["262"]
                    told = [one for one in told if one != request["55"]]
            for symbol in asked.keys() - told:
                price = said(number, _SYMBOLS.index(symbol))
                sides = [[(269, side), (270, f"{price + ahead}"), (271, "5")] for side, ahead in (("0", 0), ("1", 1))]
                peer.send("W", (262, asked[symbol]), (55, symbol), (60, at), groups=(268, 269, sides))
            entries = [entry for symbol in told for entry in _moved(symbol, number)]
            if entries and peer.on.is_set():
                peer.send("X", (60, at), groups=(268, 279, entries))


def _moved(symbol: str, number: int) -> Iterator[list[tuple[int, str]]]:
    """Both sides of its book are at other prices."""
    place = _SYMBOLS.index(symbol)
    for side, ahead in (("0", 0), ("1", 1)):
        before, now = (f"{said(one, place) + ahead}" for one in (number - 1, number))
        yield [(279, "2"), (269, side), (55, symbol), (270, before)]
        yield [(279, "0"), (269, side), (55, symbol), (270, now), (271, "5")]


def _trade(port: int, table: Timetable, folder: Path, count: int) -> None:
    """One ExecutionReport after the other; whoever is not there gets them later, from the store."""
    with Peer(folder, port) as peer:
        for number in table.numbers(0):
            if number < count:
                fields = [(37, f"O{number}"), (17, f"E{number}"), (150, "F"), (39, "2"), (55, "F0"), (54, "1")]
                fields += [(32, "1"), (31, f"{number + 1}"), (60, time_text(table.due(number)))]
                peer.send("8", *fields, (151, "0"), (14, "1"), (6, f"{number + 1}"))
