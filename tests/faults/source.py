"""The input of a run: seeded content, straight to the broker, with poison that says so in a header."""

from __future__ import annotations

import random
import threading
import time
from decimal import Decimal
from typing import Any

from confluent_kafka import Producer

from schemas import topics as house
from schemas.base import Side
from schemas.fills import Fill
from schemas.instruments import Instrument
from schemas.ticks import Tick
from streams.engine.cluster import Cluster
from streams.engine.partitions import partition_of
from tests.faults import app

POISON = ("poison", b"1")
"""Header of a record that must end as a dead letter."""
KEYS = tuple(f"k{n}" for n in range(24))
INSTRUMENTS = ("GAS", "OIL", "POWER", "COAL", "CARBON", "WIND")
_BOOKS = ("desk", "prop")
_BURST = 30
_PATIENCE = 600
"""Half seconds for which a full queue is waited for."""
_RAW = (b"not json", b"\xff\xfe\x00", b'{"key":7}', b"", b'{"key":"k0","amount":"many","event_time":1}', None)


class Source(threading.Thread):
    """Writes until told to stop, then closes every bucket."""

    def __init__(self, cluster: Cluster, seed: int, rate: float) -> None:
        """``rate``: records a second, about."""
        super().__init__(name="source", daemon=True)
        self._rng = random.Random(seed ^ 0x5EED)
        self._rate = rate
        # Whatever happens to the broker, each record is to arrive once: the producer never gives up.
        self._producer: Producer = cluster.publisher(message_timeout_ms=0, client_id="source")
        self._named = cluster.named
        self._burst = threading.Event()
        self._ended = threading.Event()
        self._fills: dict[str, Fill] = {}
        self._sequence: dict[str, int] = {}
        self._version = 0
        self.sent = 0
        self.failed = ""

    def burst(self) -> None:
        """Many poison records at once."""
        self._burst.set()

    def finish(self, timeout: float) -> int:
        """End the stream; returns how many records could not be delivered in ``timeout`` seconds."""
        self._ended.set()
        self.join()
        now = time.time_ns() // 1000
        for partition in range(app.PARTITIONS):
            key = next(k for n in range(1000) if partition_of(k := f"end{n}", app.PARTITIONS) == partition)
            for topic in (app.hits, app.extras):
                self._send(topic, key, app.Hit(key, 0, now + 3600 * app.SECOND))
        return self._producer.flush(timeout)

    def run(self) -> None:
        """Ten times a second as many records as are due; all numbers come from the seed, only the times are real."""
        for name in INSTRUMENTS:
            self._list(name)
        began = time.monotonic()
        round_ = 0
        while not self._ended.is_set():
            if round_ % 50 == 0:
                self._next_version()
            for _ in range(round(self._rate / 10)):
                self._one()
            if self._burst.is_set():
                self._burst.clear()
                for _ in range(_BURST):
                    self._bad()
            self._producer.poll(0)
            round_ += 1
            self._ended.wait(max(0.0, began + round_ / 10 - time.monotonic()))

    def _one(self) -> None:
        rng, now = self._rng, time.time_ns() // 1000
        dice = rng.random()
        if dice < 0.005:
            self._bad()
        elif dice < 0.55:
            key = rng.choice(KEYS)
            self._send(app.hits if rng.random() < 0.7 else app.extras, key, app.Hit(key, rng.randrange(1000), now))
        elif dice < 0.9:
            self._tick(rng.choice(INSTRUMENTS), now)
        else:
            self._fill(rng.choice(INSTRUMENTS), now)

    def _tick(self, name: str, now: int) -> None:
        sequence = self._sequence[name] = self._sequence.get(name, 0) + 1
        price = round(self._rng.uniform(-20, 100), 2)
        tick = Tick(
            instrument=name,
            venue="REPLAY",
            bid=price,
            ask=price + 0.02,
            sequence=sequence,
            event_time=now,
            receive_time=now,
        )
        self._send(house.ticks, name, tick)

    def _fill(self, name: str, now: int) -> None:
        rng = self._rng
        if self._fills and rng.random() < 0.1:  # a repeat, as an at-least-once sender makes it
            fill = rng.choice(list(self._fills.values()))
        else:
            number = f"f{len(self._fills)}"
            fill = self._fills[number] = Fill(
                fill_id=number,
                order_id=number,
                book=rng.choice(_BOOKS),
                instrument=name,
                side=rng.choice((Side.BUY, Side.SELL)),
                quantity=Decimal(rng.randrange(1, 40)),
                price=Decimal(rng.randrange(-500, 9000)) / 100,
                fee=Decimal("0.13"),
                currency="USD",
                venue="OTHER",
                event_time=now,
                receive_time=now,
            )
        self._send(house.fills, fill.instrument, fill)

    def _list(self, name: str) -> None:
        now = time.time_ns() // 1000
        listed = Instrument(
            instrument=name,
            name=name,
            currency="USD",
            unit="MW.h",
            lot_size=Decimal(1),
            max_order_quantity=Decimal(100),
            venue="REPLAY",
            event_time=now,
            receive_time=now,
        )
        for partition in range(app.PARTITIONS):
            self._put(house.instruments, name, house.instruments.encode(listed), partition)

    def _next_version(self) -> None:
        self._version += 1
        record = app.Version(self._version, time.time_ns() // 1000)
        for partition in range(app.PARTITIONS):
            self._put(app.versions, "version", app.versions.encode(record), partition)

    def _bad(self) -> None:
        rng, now = self._rng, time.time_ns() // 1000
        key = rng.choice(KEYS)
        kind = rng.randrange(4)
        if kind == 0:
            self._put(house.ticks, key, rng.choice(_RAW), partition_of(key, app.PARTITIONS), POISON)
            return
        topic = rng.choice((app.hits, app.extras))
        if kind == 1:
            raw = rng.choice(_RAW)
        else:
            raw = topic.encode(app.Hit(key, app.BROKEN if kind == 2 else app.REFUSED, now))
        self._put(topic, key, raw, partition_of(key, app.PARTITIONS), POISON)

    def _send(self, topic: Any, key: str, record: Any) -> None:
        self._put(topic, key, topic.encode(record), partition_of(key, app.PARTITIONS))

    def _put(self, topic: Any, key: str, raw: bytes | None, partition: int, *headers: tuple[str, bytes]) -> None:
        for _ in range(_PATIENCE):
            try:
                self._producer.produce(
                    self._named(topic.name),
                    raw,
                    key.encode(),
                    partition,
                    headers=list(headers),
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.5)  # the broker is away for long: the source waits for it
            else:
                self.sent += 1
                return
        self.failed = f"{topic.name}[{partition}]: the queue stayed full"

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self.failed = f"{message.topic()}[{message.partition()}]: {error.str()}"
