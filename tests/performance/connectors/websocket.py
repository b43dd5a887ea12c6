"""WebSocket: changes of 20 books as fast as they are read, each a tick in Kafka; and read by the bare library."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from functools import partial

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.connector import WebSocketConnector
from schemas import topics
from streams.engine.cluster import Cluster
from streams.local.service import free_port
from tests.performance.connectors.figures import Cost, Figure, apart, beside, compared, counted, listens, through

SYMBOLS = [f"S{n}" for n in range(20)]
_STEPS = 50  # of a cent, up which each best bid walks again and again


def measure(cluster: Cluster, *, smoke: bool) -> list[Figure]:
    """Updates a second that are ticks in Kafka, and those that the library reads and msgspec decodes."""
    count = 10_000 if smoke else 200_000
    port = free_port()
    with beside(serve, port, count):
        listens("127.0.0.1", port)
        taken = apart(read, cluster, port, count)
        bare = apart(read_bare, port, count)
    return compared("updates, each a tick in Kafka", "update", taken=taken, least=20_000, bare=bare)


def settings(port: int) -> WebSocketConfig:
    """A venue that sends snapshots by itself and numbers the changes of each instrument."""
    levels = {"symbol": "data.sym", "time": "data.ts", "bids": "data.b", "asks": "data.a", "sequence": "data.to"}
    return WebSocketConfig.model_validate(
        {
            "name": "bench",
            "url": f"ws://127.0.0.1:{port}/",
            "venue": "BENCH",
            "instruments": [{"instrument": symbol} for symbol in SYMBOLS],
            "subscribe": ['{"op": "subscribe", "symbols": {symbols}}'],
            "messages": [
                {"kind": "update", "when": {"type": "book"}, "first": "data.from", **levels},
                {"kind": "snapshot", "when": {"type": "snapshot"}, **levels},
            ],
            "heartbeat": 600,
            "silence": 600,
        }
    )


def serve(port: int, count: int) -> None:
    """The venue: to whoever subscribes, a snapshot of each book and ``count`` changes, as fast as they are read.

    The library makes the connection; the frames are made before, and are written past it, because a venue that makes
    them one by one would take the processor that the measured reader needs.
    """

    def stream(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed, OSError):
            connection.recv()
            connection.socket.sendall(b"".join(Frame(Opcode.TEXT, text).serialize(mask=False) for text in _said(count)))
            connection.recv()  # until the reader has had enough

    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # who only looks whether it is there
    with serve_websocket(stream, "127.0.0.1", port, compression=None) as server:
        server.serve_forever()


def _said(count: int) -> list[bytes]:
    """The venue's messages: each change takes the best bid away and puts another."""

    def text(kind: str, symbol: str, number: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> bytes:
        at = time.time_ns() // 1_000_000
        data = {"sym": symbol, "ts": at, "from": number, "to": number, "b": bids, "a": asks}
        return msgspec.json.encode({"type": kind, "data": data})

    found = [text("snapshot", symbol, 0, [("10.00", "5")], [("20.00", "5")]) for symbol in SYMBOLS]
    for place in range(count):
        number, of = divmod(place, len(SYMBOLS))
        old, new = (f"10.{step % _STEPS:02}" for step in (number, number + 1))
        found.append(text("book", SYMBOLS[of], number + 1, [(old, "0"), (new, "5")], []))
    return found


def read(cluster: Cluster, port: int, count: int) -> Cost:
    """Updates that are ticks in Kafka."""
    make = partial(WebSocketConnector, [settings(port)])
    return through(cluster, make, "websocket", topics.ticks, count + len(SYMBOLS))


def read_bare(port: int, count: int) -> Cost:
    """Updates that the library reads and msgspec decodes."""
    arrived = [0]

    async def run() -> None:
        decode = msgspec.json.decode
        async with connect(f"ws://127.0.0.1:{port}/", compression=None) as connection:
            await connection.send("{}")
            while arrived[0] < count + len(SYMBOLS):
                decode(await connection.recv())
                arrived[0] += 1

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    cost = counted(thread.start, lambda: float(arrived[0]), count + len(SYMBOLS))
    thread.join(30)
    return cost
