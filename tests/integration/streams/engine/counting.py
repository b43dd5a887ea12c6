"""A small application to try the engine with: it numbers and sums what it is given per key, by a broadcast factor.

Run as a program it is one worker process: ``python counting.py BOOTSTRAP PREFIX SLOT``; it stops at the end of its
standard input.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
import threading
from typing import Any

import msgspec

from processors.processor import Batch, Emitter, Processor, State
from streams.engine.cluster import Cluster
from streams.engine.layout import TopicSpec, changelog_of
from streams.engine.ports import Headers, JournalEntry, Output, Poison, TopicPort
from streams.engine.stores import Stores
from streams.engine.supervisor import run_workers
from streams.engine.worker import Options, Worker
from tests.topic import Topic

PARTITIONS = 4
ALARM = 1_000_000
"""An amount from which somebody must be told at once."""
BROKEN = -1
"""An amount at which the processor fails."""
QUICK = Options(commit_interval=0.02, batch=500, idle_after=0.3, session_timeout=6.0, transaction_timeout=6.0)


class Hit(msgspec.Struct, frozen=True):
    """An input record."""

    key: str
    amount: int
    event_time: int = 0


class Factor(msgspec.Struct, frozen=True):
    """What every amount is multiplied by."""

    value: int
    event_time: int = 0


class Count(msgspec.Struct, frozen=True):
    """The ``n``-th record of a key and the sum up to it. ``at``: where the counted record stands."""

    key: str
    n: int
    total: int
    at: str
    event_time: int = 0


class Line(msgspec.Struct, frozen=True):
    """A dead letter or a journal record, as it is."""

    body: dict[str, Any]
    event_time: int = 0


hits = Topic("hits", Hit)
extras = Topic("extras", Hit)
factors = Topic("factors", Factor, broadcast=True)
counts = Topic("counts", Count)
alarms = Topic("alarms", Count, urgent=True)
letters = Topic("letters", Line)
journal = Topic("journal", Line)
TOPICS = (hits, extras, factors, counts, alarms, letters, journal)


class Words:
    """The engine's vocabulary in plain JSON."""

    def coordinates(self, topic: str, partition: int, offset: int) -> str:
        return f"{topic}[{partition}]@{offset}"

    def dead_letter(self, poison: Poison) -> Output:
        body = {
            "at": self.coordinates(poison.topic, poison.partition, poison.offset),
            "reason": poison.reason,
            "raw": base64.b64encode(poison.raw).decode(),
        }
        return Output(letters.name, b"letter", json.dumps({"body": body}).encode(), [], "letter")

    def journal(self, entry: JournalEntry) -> Output:
        body = {
            "partition": entry.partition,
            "commit": entry.commit,
            "segments": entry.segments,
            "outputs": entry.outputs,
            "hash": entry.output_hash,
        }
        return Output(journal.name, b"journal", json.dumps({"body": body}).encode(), [], entry.partition)

    def headers(self, topic: TopicPort, source: str, event_id: str, event_time: int) -> Headers:
        return [("id", event_id.encode())]


class Total(msgspec.Struct, frozen=True):
    """What is remembered of a key."""

    n: int
    total: int


class Counting(Processor):
    """Numbers and sums the hits and extras of each key."""

    name = "counting"
    reads = (hits, extras, factors)  # type: ignore[assignment]
    writes = (counts, alarms)  # type: ignore[assignment]
    totals = State(Total)
    factor = State(int)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        if batch.topic is factors:
            for record in batch.values:
                self.factor.put("factor", record.value)
            return
        factor = self.factor.get("factor")
        for i, hit in enumerate(batch.values):
            if hit.amount == BROKEN:
                raise ArithmeticError("this amount breaks the processor")
            if factor is None:
                batch.reject(i, "there is no factor")
                continue
            known = self.totals.get(hit.key) or Total(0, 0)
            total = Total(known.n + 1, known.total + hit.amount * factor)
            self.totals.put(hit.key, total)
            count = Count(hit.key, total.n, total.total, batch.at(i))
            out.append(counts, hit.key, count, event_id=f"{hit.key}-{total.n}")
            if hit.amount >= ALARM:
                out.append(alarms, hit.key, count, event_id=f"{hit.key}-{total.n}")


class Waking(Processor):
    """Raises an alarm when a key has been silent for as long as its last amount says, in microseconds of wall clock."""

    name = "waking"
    reads = (hits,)  # type: ignore[assignment]
    writes = (alarms,)  # type: ignore[assignment]
    fired = State(int)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for hit in batch.values:
            self.timers.at_wall(hit.key, hit.event_time + hit.amount)

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        n = (self.fired.get(key) or 0) + 1
        self.fired.put(key, n)
        out.append(alarms, key, Count(key, n, 0, "silence", now), event_id=f"{key}-{n}")


def specs(partitions: int = PARTITIONS) -> list[TopicSpec]:
    """The application's topics."""
    found = [TopicSpec(topic.name, partitions, {"cleanup.policy": "delete"}) for topic in TOPICS]
    compact = {"cleanup.policy": "compact"}
    return found + [TopicSpec(changelog_of(p.name), partitions, compact) for p in (Counting, Waking)]


def worker(
    cluster: Cluster,
    slot: int = 0,
    options: Options = QUICK,
    processor: type[Processor] = Counting,
    stores: Stores | None = None,
) -> Worker:
    """A worker of an application."""
    return Worker(cluster, processor, Words(), partitions=PARTITIONS, slot=slot, options=options, stores=stores)


def main(bootstrap: str, prefix: str, slot: str) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    slow = dataclasses.replace(QUICK, batch=100)  # so that a kill finds it at work
    run_workers([worker(Cluster(bootstrap, prefix=prefix), int(slot), slow)], stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
