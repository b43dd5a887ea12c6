"""The application of the simulator: count, sum, least and greatest of each key, one output for every input.

``tallies`` has every step, ``totals`` the newest of each key, ``alarms`` what wall-clock timers have fired. Whatever is
lost, doubled, reordered or decided without its broadcast input shows in one of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from processors.processor import Batch, Emitter, Processor, State
from streams.engine.layout import changelog_of
from streams.engine.ports import Headers, JournalEntry, Output, Poison, TopicPort
from tests.topic import Topic

BROKEN = -1
"""An amount at which the processor fails."""


class Hit(msgspec.Struct, frozen=True):
    """An input. ``wake``: microseconds after ``event_time`` at which its timer is due; 0 for none."""

    id: int
    key: str
    amount: int
    event_time: int
    wake: int = 0


class Factor(msgspec.Struct, frozen=True):
    """The broadcast input; without it nothing may be decided."""

    value: int
    event_time: int = 0


class Tally(msgspec.Struct, frozen=True):
    """A key after its ``n``-th record, which stands ``at`` (topic, partition, offset)."""

    key: str
    n: int
    total: int
    least: int
    most: int
    at: tuple[str, int, int]
    event_time: int = 0


class Alarm(msgspec.Struct, frozen=True):
    """The timer of record ``id`` has fired."""

    key: str
    id: int
    event_time: int = 0


class Letter(msgspec.Struct, frozen=True):
    """A dead letter."""

    at: tuple[str, int, int]
    reason: str
    event_time: int = 0


class Entry(msgspec.Struct, frozen=True):
    """A journal record."""

    partition: int
    commit: int
    segments: list[tuple[str, int, int, int, int]]
    outputs: int
    hash: str
    event_time: int = 0


hits = Topic("hits", Hit)
extras = Topic("extras", Hit)
factors = Topic("factors", Factor, broadcast=True)
tallies = Topic("tallies", Tally)
totals = Topic("totals", Tally)
alarms = Topic("alarms", Alarm, urgent=True)
letters = Topic("letters", Letter)
journal = Topic("journal", Entry)


class Words:
    """The engine's vocabulary in plain JSON. Everything of a task goes to the task's own partition."""

    def coordinates(self, topic: str, partition: int, offset: int) -> tuple[str, int, int]:
        return topic, partition, offset

    def dead_letter(self, poison: Poison) -> Output:
        record = Letter((poison.topic, poison.partition, poison.offset), poison.reason)
        return Output(letters.name, b"letter", msgspec.json.encode(record), [], poison.partition)

    def journal(self, entry: JournalEntry) -> Output:
        segments = [tuple(segment) for segment in entry.segments]
        record = Entry(entry.partition, entry.commit, segments, entry.outputs, entry.output_hash)  # type: ignore[arg-type]
        return Output(journal.name, b"journal", msgspec.json.encode(record), [], entry.partition)

    def headers(self, topic: TopicPort, source: str, event_id: str, event_time: int) -> Headers:
        return []


class Tallying(Processor):
    """See the module."""

    name = "tallying"
    reads = (hits, extras, factors)  # type: ignore[assignment]
    writes = (tallies, totals, alarms)  # type: ignore[assignment]
    held = State(Tally)
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
                batch.reject(i, "decided without its broadcast input")
                continue
            amount, known = hit.amount * factor, self.held.get(hit.key)
            at: Any = batch.at(i)
            if known is None:
                tally = Tally(hit.key, 1, amount, amount, amount, at)
            else:
                least, most = min(known.least, amount), max(known.most, amount)
                tally = Tally(hit.key, known.n + 1, known.total + amount, least, most, at)
            self.held.put(hit.key, tally)
            out.append(tallies, hit.key, tally, event_id=f"{hit.key}-{tally.n}")  # type: ignore[type-var,arg-type]
            out.latest(totals, hit.key, tally)  # type: ignore[type-var,arg-type]
            if hit.wake:
                self.timers.at_wall(f"{hit.key}|{hit.id}", hit.event_time + hit.wake)

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        name, _, number = key.partition("|")
        out.append(alarms, name, Alarm(name, int(number), now), event_id=key)  # type: ignore[type-var,arg-type]


INPUTS = (hits, extras)
OUTPUTS = (tallies, totals, alarms, letters, journal)
CHANGELOG = changelog_of(Tallying.name)
TOPICS = [topic.name for topic in (*INPUTS, factors, *OUTPUTS)] + [CHANGELOG]
