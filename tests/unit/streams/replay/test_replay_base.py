"""The state before a commit, from a changelog that was compacted anywhere: exact, or refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from schemas.ticks import Tick
from streams.engine.memory import MemoryMessage
from streams.engine.task import Task
from streams.replay.base import state_before
from streams.replay.errors import Gone, TooOld
from streams.replay.rerun import Entry
from streams.vocabulary import Words

T = 1_795_000_000_000_000
SECOND = 1_000_000


class Remembering(Processor):
    """Remembers the newest sequence of each instrument; an even one is forgotten."""

    name = "remembering"
    reads = (topics.ticks,)
    writes = ()
    newest = State(int)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for tick in batch.values:
            if tick.sequence % 2:
                self.newest.put(tick.instrument, tick.sequence)
                self.timers.at_wall(tick.instrument, T + tick.sequence)
            else:
                self.newest.delete(tick.instrument)


@dataclass
class Changelog:
    """Records of a changelog partition with their offsets, and the journal beside it."""

    place: str = "remembering-changelog[0]"
    records: list[MemoryMessage] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    def live(self, ticks: list[tuple[str, int]], began: int) -> None:
        """A task from commit 1 on, a commit for every tick; ``states`` are those before each commit."""
        task = Task(Remembering, 0, Words())
        for n, (name, sequence) in enumerate(ticks):
            now = began + n * SECOND
            self.states.append(state_of(task))
            tick = Tick(
                instrument=name, venue="v", bid=1.0, ask=1.0, sequence=sequence, event_time=now, receive_time=now
            )
            task.feed(topics.ticks, [MemoryMessage(name.encode(), topics.ticks.encode(tick), n, now)])
            outputs, changes = task.drain()
            task.committed()
            for key, value in changes:
                self.records.append(MemoryMessage(key, value, len(self.records), now))
            self.entries.append(Entry(topics.journal.decode(outputs[-1].value), now, f"journal[0]@{n}"))

    def compact(self, below: int) -> None:
        """As Kafka does: of records below an offset only the newest of each key stays."""
        last = {message.key(): message.offset() for message in self.records if message.offset() < below}
        self.records = [m for m in self.records if m.offset() >= below or last[m.key()] == m.offset()]

    def ends(self) -> tuple[int, int]:
        return 0, 10**9

    def forward(self, first: int, end: int) -> Any:
        return iter(self.records)


def state_of(task: Task) -> dict[str, Any]:
    return {name: dict(table.items()) for name, table in task.tables.items()}


TICKS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(TICKS, TICKS, st.integers(0, 120))
def test_state_before_when_changelog_was_compacted_anywhere_is_exact_or_refused(old, new, below):
    """``old``: a life of the application before it was reset, of which only the journal is left."""
    gone, log = Changelog(), Changelog()
    gone.live(old, T)
    log.live(new, T + 3600 * SECOND)
    log.compact(below)
    reached, exact = [], []
    for entry, state in zip(log.entries, log.states, strict=True):
        task = Task(Remembering, 0, Words())
        try:
            state_before(log, task, entry)  # type: ignore[arg-type]
        except TooOld as error:
            reached.append((error.earliest, entry.record.commit))
        else:
            assert state_of(task) == state
            exact.append(entry.record.commit)
    for earliest, refused in reached:
        assert earliest == min(exact, default=None)
        assert not exact or refused < min(exact)
    for entry in gone.entries[1:]:
        with pytest.raises(TooOld):
            state_before(log, Task(Remembering, 0, Words()), entry)  # type: ignore[arg-type]


def test_state_before_when_nothing_was_compacted_is_there_for_every_commit():
    log = Changelog()
    log.live([("a", 1), ("b", 2), ("a", 2), ("b", 3)], T)
    for entry, state in zip(log.entries, log.states, strict=True):
        task = Task(Remembering, 0, Words())
        state_before(log, task, entry)  # type: ignore[arg-type]
        assert state_of(task) == state


def test_state_before_when_a_record_cannot_be_read_names_it():
    log = Changelog()
    log.live([("a", 1), ("b", 2)], T)
    log.records.insert(1, MemoryMessage(b"other/key", b"1", 77, T))
    with pytest.raises(Gone, match=r"remembering-changelog\[0\]@77 cannot be read: table 'other' is not one of"):
        state_before(log, Task(Remembering, 0, Words()), log.entries[1])  # type: ignore[arg-type]
