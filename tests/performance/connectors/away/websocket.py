"""WebSocket: a venue of the library `websockets` whose books count."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from streams.local.service import free_port
from tests.performance.connectors.away.counting import Books, Timetable, said
from tests.performance.connectors.figures import beside, listens

_SYMBOLS = [f"W{n}" for n in range(20)]
_VENUE = "WEB"


class WebSocket(Books):
    """Snapshots come with each connection; what is not read of one is gone with it, and must lie in a gap."""

    def __init__(self) -> None:
        super().__init__(_VENUE, _SYMBOLS, "WebSocket changes")
        self._port = free_port()

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """The venue."""
        with beside(_venue, self._port, self._table):
            listens("127.0.0.1", self._port)
            yield

    def settings(self) -> dict[str, Any]:
        """Pings, patience and bounds are those that a feed has by itself."""
        levels = {"symbol": "sym", "time": "ts", "bids": "b", "asks": "a", "sequence": "n"}
        feed = {
            "name": "web",
            "url": f"ws://127.0.0.1:{self._port}/",
            "venue": _VENUE,
            "instruments": [{"instrument": symbol} for symbol in _SYMBOLS],
            "subscribe": ['{"op": "subscribe", "symbols": {symbols}}'],
            "messages": [{"kind": kind, "when": {"type": kind}, **levels} for kind in ("update", "snapshot")],
        }
        return {"websocket": [feed]}


def _venue(port: int, table: Timetable) -> None:
    """To whoever subscribes, a snapshot of each book, and then every change; it waits for who does not read."""

    def text(kind: str, place: int, number: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> bytes:
        at = table.due(number) // 1000
        return msgspec.json.encode({"type": kind, "sym": _SYMBOLS[place], "ts": at, "n": number, "b": bids, "a": asks})

    def client(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            connection.recv()
            begun = False
            for number in table.numbers():
                for place in range(len(_SYMBOLS)):
                    before, price = said(number - 1, place), said(number, place)
                    if begun:
                        bids, asks = [(before, 0), (price, 5)], [(before + 1, 0), (price + 1, 5)]
                        connection.send(text("update", place, number, bids, asks), text=True)
                    else:
                        connection.send(text("snapshot", place, number, [(price, 5)], [(price + 1, 5)]), text=True)
                begun = True

    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # who only looks whether it is there
    with serve(client, "127.0.0.1", port, compression=None) as server:
        server.serve_forever()
