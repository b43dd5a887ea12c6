"""FIX: changes of 20 books as fast as they are read, each a tick in Kafka; and read by a bare library."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import simplefix

from connectors.market.fix.codec import Decoder, Message, encode, time_text
from connectors.market.fix.config import FixConfig
from connectors.market.fix.connector import FixConnector
from connectors.market.fix.quotes import request
from schemas import topics
from streams.engine.cluster import Cluster
from streams.local.service import free_port
from tests.performance.connectors.figures import Cost, Figure, apart, beside, compared, counted, listens, through

SYMBOLS = [f"S{n}" for n in range(20)]
TOGETHER = 4
"""Updates in one message, of as many books, where a venue sends several at once."""
_READ_BYTES = 1 << 16
Fields = list[tuple[int, bytes | str | int]]


def measure(cluster: Cluster, *, smoke: bool) -> list[Figure]:
    """Updates a second that are ticks in Kafka; those that simplefix reads, and our decoder alone."""
    count = 10_000 if smoke else 200_000
    one, several = free_port(), free_port()
    with beside(serve, one, count, 1), beside(serve, several, count, TOGETHER):
        listens("127.0.0.1", one)
        listens("127.0.0.1", several)
        taken = apart(read, cluster, one, count)
        together = apart(read, cluster, several, count)
        bare = apart(read_bare, one, count, by_simplefix)
        decoded = apart(read_bare, one, count, by_decoder)
    each = f"updates, each a tick in Kafka, {TOGETHER} to a message"
    return [
        *compared("updates, each a tick in Kafka", "update", taken=taken, least=20_000, bare=bare),
        Figure(what=each, value=together.rate, unit="/s", least=20_000),
        Figure(what=f"processor time per update, {TOGETHER} to a message", value=together.busy, unit="µs"),
        Figure(what="messages through our decoder alone", value=decoded.rate, unit="/s", bare=bare.rate),
    ]


def settings(port: int, store: Path) -> FixConfig:
    """A session with a venue that numbers nothing but its messages."""
    return FixConfig.model_validate(
        {
            "name": "bench",
            "host": "127.0.0.1",
            "port": port,
            "sender": "HOUSE",
            "target": "VENUE",
            "store": store,
            "venue": "BENCH",
            "instruments": [{"instrument": symbol} for symbol in SYMBOLS],
        }
    )


def serve(port: int, count: int, together: int) -> None:
    """The venue: to whoever logs on and subscribes to all, a snapshot of each book and ``count`` changes.

    ``together``: how many of them are in one message.

    Own code: an engine that sends messages one by one would take the processor that the measured reader needs.
    """

    def client(connection: socket.socket) -> None:
        decoder, requests = Decoder(), {}
        with connection, suppress(OSError):
            while data := connection.recv(_READ_BYTES):
                for message in decoder.feed(data):
                    assert isinstance(message, Message)
                    if message.kind == b"A":
                        connection.sendall(_message("A", 1, [(98, 0), (108, 30), (141, "Y")]))
                    elif message.kind == b"V":
                        requests[message.text(55)] = message.text(262)
                        if len(requests) == len(SYMBOLS):
                            connection.sendall(b"".join(_said(requests, count, together)))

    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            threading.Thread(target=client, args=(listener.accept()[0],), daemon=True).start()


def _message(kind: str, number: int, fields: Fields) -> bytes:
    at = time_text(time.time_ns() // 1000)
    return encode([(35, kind), (49, "VENUE"), (56, "HOUSE"), (34, number), (52, at), *fields])


def _said(requests: dict[str, str], count: int, together: int) -> Iterator[bytes]:
    """The venue's messages. Each change enters a better bid than that of the snapshot, or takes it away again."""
    number = 2
    for symbol in SYMBOLS:
        sides: Fields = [(269, "0"), (270, "10.00"), (271, "5"), (269, "1"), (270, "20.00"), (271, "5")]
        yield _message("W", number, [(262, requests[symbol]), (55, symbol), (268, 2), *sides])
        number += 1
    for first in range(0, count, together):
        entries: Fields = []
        for place in range(first, first + together):
            step, of = divmod(place, len(SYMBOLS))
            price, symbol = f"10.{1 + step // 2 % 50:02}", SYMBOLS[of]
            if step % 2 == 0:
                entries += [(279, "0"), (269, "0"), (55, symbol), (270, price), (271, "5")]
            else:
                entries += [(279, "2"), (269, "0"), (55, symbol), (270, price)]
        subscription: Fields = [(262, requests[symbol])] if together == 1 else []
        yield _message("X", number, [*subscription, (268, together), *entries])
        number += 1


def read(cluster: Cluster, port: int, count: int) -> Cost:
    """Updates that are ticks in Kafka."""
    with tempfile.TemporaryDirectory() as folder:
        make = partial(FixConnector, [settings(port, Path(folder, "numbers.db"))])
        return through(cluster, make, "fix", topics.ticks, count + len(SYMBOLS))


def read_bare(port: int, count: int, by: Callable[[], Callable[[bytes], int]]) -> Cost:
    """The same bytes read without a session: logged on, subscribed, counted. ``by``: makes what counts messages."""
    arrived = [0]

    def run() -> None:
        counts = by()
        config = settings(port, Path("unused"))
        with socket.create_connection(("127.0.0.1", port)) as connection:
            asked = [("A", []), *(("V", request(config, one, one.called)) for one in config.instruments)]
            connection.sendall(b"".join(encode([(35, kind), *fields]) for kind, fields in asked))
            while arrived[0] < count + len(SYMBOLS) + 1:
                arrived[0] += counts(connection.recv(_READ_BYTES))

    thread = threading.Thread(target=run)
    cost = counted(thread.start, lambda: float(arrived[0]), count + len(SYMBOLS) + 1)
    thread.join(30)
    return cost


def by_simplefix() -> Callable[[bytes], int]:
    """The kept pure-Python library."""
    parser = simplefix.FixParser()

    def count(data: bytes) -> int:
        parser.append_buffer(data)
        found = 0
        while parser.get_message() is not None:
            found += 1
        return found

    return count


def by_decoder() -> Callable[[bytes], int]:
    """Our own, which checks lengths and sums."""
    decoder = Decoder()
    return lambda data: sum(1 for _ in decoder.feed(data))
