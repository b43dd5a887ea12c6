"""One worker: runs a processor in one thread, in one session with Kafka after the other."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Message

from streams.engine import metrics
from streams.engine.errors import Corrupted, Fatal, Migrated, Replaced
from streams.engine.outside import Outside, Stop
from streams.engine.ports import Vocabulary
from streams.engine.session import Session
from streams.engine.standby import Standbys
from streams.engine.stores import MemoryStores, Stores
from streams.engine.task import Task

log = structlog.get_logger(__name__)
_TWIN_WINDOW = 60.0
"""Seconds within which a worker that is replaced twice has a twin."""


@dataclass(frozen=True)
class Options:
    """How a worker trades latency for throughput, and how long it waits for Kafka. Times in seconds."""

    commit_interval: float = 0.1
    """At most this long between an input and its commit under load."""
    quiet_interval: float = 0.002
    """At least this long between two commits of outputs that are not urgent, when the input is drained."""
    batch: int = 10_000
    """Records per poll."""
    idle_after: float = 5.0
    """Silence after which a caught-up partition no longer holds the watermark back."""
    session_timeout: float = 10.0
    """Silence after which the group gives a worker's partitions to others."""
    standbys: int = 0
    """Copies of each task that other workers keep warm."""
    transaction_timeout: float = 12.0
    """After this the broker aborts a transaction that was left open, and readers move on."""


class Worker:
    """Runs one processor on the partitions that the group gives it, until told to stop."""

    def __init__(
        self,
        cluster: Outside,
        processor: type[Any],
        vocabulary: Vocabulary,
        *,
        partitions: int,
        slot: int = 0,
        options: Options | None = None,
        stores: Stores | None = None,
    ) -> None:
        self.cluster = cluster
        self.processor = processor
        self.vocabulary = vocabulary
        self.partitions = partitions
        self.slot = slot
        self.options = options or Options()
        self.stores = stores or MemoryStores()
        self.standbys = Standbys(cluster, processor.name, cluster.named(self.name), self.options.standbys, self.make)
        self.identity = f"{self.name}@{socket.gethostname()}-{os.getpid()}"
        """Client id, by which people can tell in the group's description who holds the slot."""
        self.clock = cluster.clock
        self.alive_at = self.clock.monotonic()
        """When the thread last came round; the watchdog looks at it from outside."""
        self.done = False
        self._replaced_at = -_TWIN_WINDOW

    @property
    def name(self) -> str:
        """Application and slot."""
        return f"{self.processor.name}-{self.slot}"

    def make(self, partition: int) -> Task:
        """A task with what its store has kept. Raises Fatal when somebody else has the store."""
        return Task(
            self.processor,
            partition,
            self.vocabulary,
            named=self.cluster.named,
            value_of=Message.value,
            key_of=Message.key,
            store=self.stores.open(partition),
        )

    def run(self, stop: Stop) -> None:
        """Work until ``stop``. Raises Fatal when no retry can help; heals everything else by starting a new session."""
        pause = 0.1
        try:
            while not stop.is_set():
                self.alive_at = began = self.clock.monotonic()
                try:
                    self._live(stop)
                except (Migrated, Corrupted) as error:
                    verdict = type(error).__name__.lower()
                    metrics.aborts.labels(self.processor.name, verdict).inc()
                    pause = 0.1 if self.clock.monotonic() - began > 30 else min(pause * 2, 5.0)
                    log.warning("starting anew", worker=self.name, verdict=verdict, why=str(error), pause_seconds=pause)
                    stop.wait(pause)
        finally:
            self.standbys.close()

    def _live(self, stop: Stop) -> None:
        session = Session(self)
        successor = False
        try:
            session.work(stop)
        except Corrupted:
            successor = not stop.is_set()
            raise
        except Migrated as error:
            verdict = session.verdict(error)
            if isinstance(verdict, Replaced):
                self._judge(verdict)
            successor = not stop.is_set()
            raise verdict from error
        finally:
            session.close(successor=successor)

    def _judge(self, error: Replaced) -> None:
        """Stop when a twin runs this slot. Two that answered by starting anew would fence each other for ever.

        Once is no proof: a request that the client sends a second time, as when a broker goes away, replaces a member
        by itself. A twin comes back, and then the one that was there first gives way.
        """
        now = self.clock.monotonic()
        if now - self._replaced_at < _TWIN_WINDOW:
            raise Fatal(
                f"another process runs slot {self.slot} of {self.processor.name} on this cluster and has taken over: "
                f"stop it, or start this one with another --slot ({error})"
            ) from error
        self._replaced_at = now
