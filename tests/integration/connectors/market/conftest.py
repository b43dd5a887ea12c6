"""What tests of market connectors share: all that reaches Kafka, and a venue that misbehaves as told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors.market.fix.codec import Decoder, Message, encode, time_text
from schemas import topics
from schemas.gaps import Gap
from schemas.ticks import Tick
from schemas.topics import Topic
from streams.engine.cluster import Cluster
from tests.integration.connectors.market.exchange import Exchange

WRITTEN = (topics.ticks, topics.gaps, topics.books, topics.fills, topics.dead_letters, topics.devices)


@pytest.fixture
def wanted() -> tuple[Topic, ...]:
    """The market's topics."""
    return WRITTEN


class Records:
    """All records of the market's topics, with their ids, as they come."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._decode = {cluster.named(topic.name): topic.decode for topic in WRITTEN}
        self._consumer = cluster.reader("look")
        self._consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for name in self._decode for p in range(4)])
        self.all: list = []
        self.ids: list[str] = []

    def close(self) -> None:
        self._consumer.close()

    def of(self, kind: type) -> list:
        for message in self._consumer.consume(1000, 0.05):
            self.all.append(self._decode[message.topic()](message.value()))
            self.ids.append(dict(message.headers())["ce_id"].decode())
        return [record for record in self.all if isinstance(record, kind)]

    def ticks(self) -> list[Tick]:
        return self.of(Tick)

    def gaps(self, reason: str) -> list[tuple[str, bool]]:
        return [(gap.key, gap.open) for gap in self.of(Gap) if gap.reason == reason]

    def until(self, holds: Callable[[], object], what: str, timeout: float = 20.0) -> None:
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {timeout} s; the last records are {self.all[-4:]}")

    def rest(self) -> None:
        """Read all that is there by now: one topic's last record says nothing about another's."""
        places = self._consumer.assignment()
        with closing(self._cluster.reader("ends")) as other:  # ours would have each question wait behind a fetch
            ends = [other.get_watermark_offsets(one, 10)[1] for one in places]

        def read() -> bool:
            self.of(object)
            return all(
                at.offset >= end or not end for at, end in zip(self._consumer.position(places), ends, strict=True)
            )

        self.until(read, "the end of every partition")


@pytest.fixture
def records(cluster: Cluster) -> Iterator[Records]:
    records = Records(cluster)
    yield records
    records.close()


class BadVenue:
    """A FIX venue in a thread that takes one connection at a time and sends what it is told."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received: list[Message] = []
        self.connections = 0
        self.sequence = 0
        self.answers: Callable[[BadVenue, Message], None] = lambda venue, message: venue.obey(message)
        self._connection: socket.socket | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self.drop()
        self._listener.close()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        self._thread.join(5)

    def drop(self) -> None:
        """Cut the connection."""
        if (connection := self._connection) is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        self._listener.settimeout(0.1)
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            self.connections += 1
            self._connection = connection
            connection.settimeout(None)
            decoder = Decoder()
            with connection, suppress(OSError):
                while data := connection.recv(65536):
                    for message in decoder.feed(data):
                        assert isinstance(message, Message)
                        self.received.append(message)
                        self.answers(self, message)

    def obey(self, message: Message) -> None:
        """Log on (from 1 if so asked), answer subscriptions with a snapshot, tests with a heartbeat."""
        if message.kind == b"A":
            if message.flag(141):
                self.sequence = 0
            self.send("A", (98, "0"), (108, message.text(108)), *([(141, "Y")] if message.flag(141) else []))
        elif message.kind == b"V" and message.text(263) == "1":
            self.snapshot(message.text(262))
        elif message.kind == b"1":
            self.send("0", (112, message.text(112)))
        elif message.kind == b"2":
            self.sequence -= 1
            first = int(message.text(7))
            last, self.sequence = self.sequence + 2, first - 1
            self.send("4", (43, "Y"), (122, time_text(time.time_ns() // 1000)), (123, "Y"), (36, str(last)))
            self.sequence = last - 1
        elif message.kind == b"5":
            self.send("5")
            self.drop()

    def built(self, kind: str, *fields: tuple[int, str]) -> bytes:
        self.sequence += 1
        header = [(35, kind), (49, "VENUE"), (56, "HOUSE"), (34, self.sequence)]
        return encode([*header, (52, time_text(time.time_ns() // 1000)), *fields])

    def send(self, kind: str, *fields: tuple[int, str]) -> None:
        self.raw(self.built(kind, *fields))

    def raw(self, data: bytes) -> None:
        assert self._connection is not None
        with suppress(OSError):
            self._connection.sendall(data)

    def snapshot(self, request: str, bid: str = "10", ask: str = "11") -> None:
        sides = [(269, "0"), (270, bid), (271, "5"), (269, "1"), (270, ask), (271, "5")]
        self.send("W", (262, request), (55, "NG"), (268, "2"), *sides)

    def bid(self, price: str) -> bytes:
        return self.built("X", (268, "1"), (279, "0"), (269, "0"), (55, "NG"), (270, price), (271, "1"))


@pytest.fixture
def venue() -> Iterator[BadVenue]:
    venue = BadVenue()
    yield venue
    venue.close()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    exchange = Exchange()
    yield exchange
    exchange.close()
