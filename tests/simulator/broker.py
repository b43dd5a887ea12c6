"""The broker: partitions, and the coordinator of transactions as Apache Kafka 4 treats a client without KIP-890.

Kept: producer epochs and fencing, CONCURRENT_TRANSACTIONS while markers are written, EndTxn answered before the
markers are there, repeated requests taken as such (EndTxn by its state, produce by its sequence), time-outs that abort
and raise the epoch, verification that a partition belongs to an open transaction before it is written to.
Simplified: one coordinator; markers arrive in any order; no replicas; epochs do not run out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError

from tests.simulator.group import Group
from tests.simulator.network import Network, Refused
from tests.simulator.partition import ALONE, Log, Pid
from tests.simulator.scheduler import Scheduler

Place = tuple[str, int]
Record = tuple[int, bytes | None, bytes | None, Any]
"""Number, key, value and headers."""


@dataclass
class Transaction:
    """What the coordinator knows of a transactional id. ``number`` counts its transactions, for logs and oracle."""

    producer: int
    timeout: float
    epoch: int = 0
    state: str = "empty"
    number: int = 0
    partitions: dict[Place, None] = field(default_factory=dict)
    offsets: bool = False
    commits: bool = False


class Broker:
    """Whatever is called here happens at once; the network decides when that is."""

    def __init__(self, scheduler: Scheduler, network: Network, partitions: int, marker_delay: float) -> None:
        self.scheduler = scheduler
        self._away = lambda: network.is_away("txn")
        self.group = Group(scheduler, partitions, lambda: network.is_away("group"))
        self.logs: dict[Place, Log] = {}
        self.listeners: dict[Place, list[Callable[[], None]]] = {}
        self.transactions: dict[str, Transaction] = {}
        self.decided: dict[tuple[int, int], bool] = {}
        """Verdict on each transaction by producer and number, for the oracle."""
        self.marker_delay = marker_delay
        self._producers = 0

    def create(self, topic: str, partitions: int) -> None:
        """A topic."""
        for n in range(partitions):
            self.logs[topic, n] = Log()
            self.listeners[topic, n] = []

    def append(self, place: Place, records: list[Record], pid: Pid = ALONE, transaction: int = 0) -> None:
        """Write to a log and tell those who wait there."""
        self.logs[place].append(pid, transaction, records, self.scheduler.now)
        self.tell(place)

    def tell(self, place: Place) -> None:
        """Something has changed at a place."""
        for listener in self.listeners[place]:
            listener()

    # --- transactions ------------------------------------------------------------------------------------------

    def init(self, name: str, timeout: float, known: Pid | None = None) -> Pid:
        """InitProducerId: fences the holder and aborts its transaction; with ``known``, the holder's own new epoch."""
        found = self.transactions.get(name)
        if found is None:
            self._producers += 1
            found = self.transactions[name] = Transaction(self._producers, timeout)
            return found.producer, 0
        if known is not None and known != (found.producer, found.epoch):
            raise Refused(KafkaError.PRODUCER_FENCED)
        if found.state == "ongoing":
            found.epoch += 1
            self._decide(found, commit=False)
        if found.state == "prepared":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        found.epoch += 1
        found.timeout = timeout
        found.state = "empty"
        return found.producer, found.epoch

    def add(self, name: str, pid: Pid, places: list[Place], *, offsets: bool = False) -> None:
        """AddPartitionsToTxn and AddOffsetsToTxn: begins the transaction when none is open."""
        found = self._held(name, pid)
        if found.state == "prepared":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)
        if found.state != "ongoing":
            found.state = "ongoing"
            found.number += 1
            found.partitions = {}
            found.offsets = False
            number = found.number
            self.scheduler.at(
                found.timeout + self.scheduler.rng.random() * 0.5, lambda: self._expire(name, found, number)
            )
        found.partitions.update(dict.fromkeys(places))
        found.offsets = found.offsets or offsets

    def end(self, name: str, pid: Pid, *, commit: bool) -> None:
        """EndTxn: decided when this returns, visible when the markers are written."""
        found = self._held(name, pid)
        if found.state == "ongoing":
            self._decide(found, commit=commit)
        elif found.state == "empty" or found.commits != commit:
            raise Refused(KafkaError.INVALID_TXN_STATE)
        elif found.state == "prepared":
            raise Refused(KafkaError.CONCURRENT_TRANSACTIONS)

    def produce(self, name: str, pid: Pid, place: Place, sequence: int, records: list[Record]) -> int:
        """One batch, and the offset after it; the same sequence again is the same batch again."""
        log, found = self.logs[place], self.transactions[name]
        if self._epoch(log.sequences, pid[0]) > pid[1]:
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        newest, after = log.sequences.get(pid, (-1, -1))
        if newest >= sequence:
            return after
        mine = found.state == "ongoing" and (found.producer, found.epoch) == pid and place in found.partitions
        if not mine:
            raise Refused(KafkaError.INVALID_TXN_STATE)
        self.append(place, records, pid, found.number)
        log.sequences[pid] = sequence, log.end
        return log.end

    def verify_offsets(self, name: str, pid: Pid) -> None:
        """Whether offsets may be put into the producer's transaction now."""
        found = self._held(name, pid)
        if found.state != "ongoing" or not found.offsets:
            raise Refused(KafkaError.INVALID_TXN_STATE)

    def _held(self, name: str, pid: Pid) -> Transaction:
        found = self.transactions[name]
        if (found.producer, found.epoch) != pid:
            raise Refused(KafkaError.INVALID_PRODUCER_EPOCH)
        return found

    def _expire(self, name: str, found: Transaction, number: int) -> None:
        if self._away():
            self.scheduler.at(0.5 * self.scheduler.rng.random(), lambda: self._expire(name, found, number))
        elif found.number == number and found.state == "ongoing":
            self.scheduler.note("broker", "aborts after its time-out", name)
            found.epoch += 1
            self._decide(found, commit=False)

    def _decide(self, found: Transaction, *, commit: bool) -> None:
        found.state, found.commits = "prepared", commit
        self.decided[found.producer, found.number] = commit
        self.scheduler.note("broker", "decides", f"producer {found.producer}", found.number, commit)
        pid, number = (found.producer, found.epoch), found.number
        left = len(found.partitions) + found.offsets

        def written() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                found.state = "complete"

        def mark(place: Place) -> None:
            log = self.logs[place]
            log.mark(pid, number, commit=commit, time=self.scheduler.now)
            log.sequences.setdefault(pid, (-1, -1))
            self.tell(place)
            written()

        def mark_offsets() -> None:
            self.group.decide(found.producer, commit=commit)
            written()

        for place in found.partitions:
            self._later(lambda place=place: mark(place))  # type: ignore[misc]
        if found.offsets:
            self._later(mark_offsets)

    def _later(self, action: Callable[[], None]) -> None:
        rng = self.scheduler.rng
        self.scheduler.at(0.0005 + rng.random() * rng.choice((0.002, self.marker_delay)), action)

    @staticmethod
    def _epoch(sequences: dict[Pid, tuple[int, int]], producer: int) -> int:
        return max((epoch for known, epoch in sequences if known == producer), default=-1)
