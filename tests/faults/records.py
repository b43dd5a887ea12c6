"""Reading committed topics: all at once at the end, and live during a run."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, TopicPartition

from streams.engine.cluster import Cluster
from streams.engine.restore import bounds
from tests.faults import app

Place = tuple[str, int]
Log = dict[int, list["Entry"]]
"""Entries by partition, in order."""


class Entry(NamedTuple):
    """One committed record."""

    offset: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def read_all(cluster: Cluster, topics: Iterable[str], timeout: float = 60.0) -> dict[str, Log]:
    """Everything in ``topics`` that a read_committed reader sees. Raises TimeoutError when an end is not reached."""
    names = {cluster.named(topic): topic for topic in topics}
    ends = bounds(cluster, [(name, p) for name in names for p in range(app.PARTITIONS)], timeout)
    open_ = {place for place, (low, high) in ends.items() if high > low}
    found: dict[str, Log] = {topic: {p: [] for p in range(app.PARTITIONS)} for topic in names.values()}
    reader = cluster.reader("verifier", enable_partition_eof=True, fetch_wait_max_ms=10)
    reader.assign([TopicPartition(name, p, ends[name, p][0]) for name, p in open_])
    deadline = time.monotonic() + timeout
    while open_:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{sorted(open_)} cannot be read to the end: is a transaction open?")
        for message in reader.consume(1000, 0.05):
            place, error = (message.topic() or "", message.partition() or 0), message.error()
            if error is None:
                headers = tuple(message.headers() or ())
                entry = Entry(message.offset() or 0, (message.key() or b"").decode(), message.value(), headers)
                found[names[place[0]]][place[1]].append(entry)
            elif error.code() == KafkaError._PARTITION_EOF and (message.offset() or 0) >= ends[place][1]:
                open_.discard(place)
    reader.close()
    return found


class Stall(NamedTuple):
    """A pause in what a live reader saw of a partition: seconds, and when it began (seconds of the run)."""

    seconds: float
    began: float
    place: Place


class Witness(threading.Thread):
    """A read_committed reader during the run: remembers what it saw, and the longest pause of each partition."""

    def __init__(self, cluster: Cluster, topics: tuple[str, ...], watched: str) -> None:
        """``watched``: the topic whose pauses are measured; something is always due in each of its partitions."""
        super().__init__(name="witness", daemon=True)
        names = {cluster.named(topic): topic for topic in topics}
        self._bare = names
        self._reader = cluster.reader("witness", auto_offset_reset="error", client_id="witness")
        self._reader.assign([TopicPartition(name, p, 0) for name in names for p in range(app.PARTITIONS)])
        self._watched = watched
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._last = dict.fromkeys(range(app.PARTITIONS), 0.0)
        self.seen: dict[Place, list[tuple[int, int]]] = defaultdict(list)
        """Offset and hash of what was seen, in the order in which it was seen."""
        self.stalls: dict[int, Stall] = {}
        self.failed = ""

    def run(self) -> None:
        """Read until told to stop."""
        while not self._ended.is_set():
            for message in self._reader.consume(1000, 0.1):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._AUTO_OFFSET_RESET or error.fatal():
                        self.failed = f"the live reader lost its place: {error.str()}"
                    continue
                topic, partition = self._bare[message.topic() or ""], message.partition() or 0
                entry = (message.offset() or 0, hash((message.key(), message.value())))
                self.seen[topic, partition].append(entry)
                if topic == self._watched:
                    self._arrived(partition, topic)
        self._reader.close()

    def _arrived(self, partition: int, topic: str) -> None:
        now = time.monotonic() - self._began
        if self._last[partition]:
            pause = Stall(now - self._last[partition], self._last[partition], (topic, partition))
            self.stalls[partition] = max(pause, self.stalls.get(partition, pause))
        self._last[partition] = now

    def finish(self) -> None:
        """End."""
        self._ended.set()
        self.join()
