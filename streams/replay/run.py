"""Replaying one task over a span: find the state, feed what was fed, compare every commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from streams.replay.difference import Difference, differs, locate
from streams.replay.errors import Gone, TooOld
from streams.replay.rerun import Entry, Made, Rerun, event_id
from streams.replay.span import Mark, Span
from streams.replay.store import Store

_RECENT = 100
"""Commits whose outputs are remembered, so that a difference is not explained by them."""


@dataclass
class Outcome:
    """What came of replaying one task. ``first`` and ``last``: commits that were compared; 0 when there were none.

    ``note``: what was left out, and why. ``gone``: why the rest of the span could not be replayed.
    """

    application: str
    partition: int
    first: int = 0
    last: int = 0
    commits: int = 0
    records: int = 0
    outputs: int = 0
    note: str = ""
    gone: str = ""
    difference: Difference | None = None

    @property
    def equal(self) -> bool:
        """Whether everything that was to be replayed was, and came out the same."""
        return self.difference is None and not self.gone


def replay(store: Store, processor: type[Any], partition: int, span: Span, now: int) -> Outcome:
    """Make every commit of the span again and compare; stops at the first difference. ``now``: microseconds."""
    outcome = Outcome(processor.name, partition)
    rerun = store.rerun(processor, partition)
    recent: deque[Made] = deque(maxlen=_RECENT)
    try:
        for entry in walk(store, rerun, span, now, outcome):
            made = rerun.play(entry, partial(store.fed, partition))
            count(outcome, entry)
            if differs(entry, made):
                explained = {(o.topic, event_id(o)) for one in recent for o in one.outputs}
                candidates = [c for c in store.committed(processor, entry) if (c.topic, c.event_id) not in explained]
                outcome.difference = locate(entry, made, candidates)
                break
            recent.append(made)
    except Gone as error:
        outcome.gone = str(error)
    return outcome


def count(outcome: Outcome, entry: Entry) -> None:
    """Note a commit that was made again."""
    outcome.first = outcome.first or entry.record.commit
    outcome.last = entry.record.commit
    outcome.commits += 1
    outcome.records += sum(segment.count for segment in entry.record.segments)
    outcome.outputs += entry.record.outputs


def walk(store: Store, rerun: Rerun, span: Span, now: int, outcome: Outcome) -> Iterator[Entry]:
    """The commits of the span, with the task always in the state before the commit that is given.

    Raises Gone when that state is no longer to be had, or the journal has a hole.
    """
    processor = rerun.processor
    limited = span.begin is None
    if limited:
        kept = min(topic.retention_ms for topic in processor.reads) * 1000
        span = Span(Mark(time=max(1, now - kept)), span.end)
    ready = False
    later: TooOld | None = None
    for entry in store.entries(processor.name, rerun.partition, span.since):
        number = entry.record.commit
        if not span.begun(entry) or (later and (number < (later.earliest or 0) or entry.time < later.time)):
            continue
        if span.over(entry):
            break
        if entry.anew:
            rerun.reset(number - 1)
        elif not ready:
            try:
                begin(store, rerun, entry, outcome)
            except TooOld as error:
                if not limited or error.earliest is None or later is not None:
                    raise
                later, outcome.note = error, str(error)
                continue
        elif number != rerun.task.commits + 1:
            raise Gone(f"the journal has no commit {rerun.task.commits + 1}; {number} follows at {entry.at}")
        ready = True
        yield entry


def begin(store: Store, rerun: Rerun, entry: Entry, outcome: Outcome) -> None:
    """Bring the task into the state before ``entry``: from the changelog, else by replaying from commit 1."""
    rerun.reset()
    try:
        store.state_before(rerun.task, entry)
    except TooOld as error:
        try:
            _from_the_start(store, rerun, entry)
        except Gone as why:
            raise TooOld(f"{error}; and {why}", error.earliest, error.time) from why
        outcome.note = f"state from commit 1 on, replayed: {error}"


def _from_the_start(store: Store, rerun: Rerun, until: Entry) -> None:
    started = False
    rerun.reset()
    for entry in store.entries(until.record.application, until.record.partition):
        if entry.at == until.at:
            if not started:
                break
            return
        if entry.anew:
            started = True
            rerun.reset(entry.record.commit - 1)
        if started:
            made = rerun.play(entry, partial(store.fed, rerun.partition))
            if differs(entry, made):
                raise Gone(f"on the way there, commit {entry.record.commit} comes out otherwise")
    raise Gone("the journal does not reach back to commit 1")
