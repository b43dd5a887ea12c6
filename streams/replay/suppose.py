"""What if other limits, rules, switches or instruments had been in force: the same inputs, decided twice side by side.

One application after the other in the order of the flow. Each task is made again as it was, and beside it a twin under
the hypothesis. Where the twin writes something else, the applications downstream are fed that instead: a record that
was also written then keeps its place; one that is new comes as soon as its reader commits after it was written. What
came from outside stays as it was: ticks, telemetry, gaps, and fills, for those are facts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count as counter
from typing import Any

import msgspec

from streams.engine.errors import Fatal
from streams.engine.memory import MemoryMessage
from streams.engine.partitions import partition_of
from streams.engine.ports import MessagePort, Output, TopicPort
from streams.replay.decisions import Ledger
from streams.replay.difference import differs, locate, outputs_of
from streams.replay.errors import Gone
from streams.replay.rerun import Entry, Fed, Made, Rerun, event_id
from streams.replay.run import Outcome, count, walk
from streams.replay.span import Span
from streams.replay.store import Store

HYPOTHETICAL = 9_000_000_000_000_000
"""From this offset on a coordinate names no record in Kafka, but one that there would have been."""
_LATE = 1_000_000
"""Microseconds after which a timer of the twin is overdue: the tasks that ran looked far more often."""
Records = Mapping[TopicPort, Mapping[str, Any]]
"""Broadcast topic to key to record, in force from the beginning of the span."""


@dataclass
class Stream:
    """How what one application would have written differs from what it wrote, for those that read it.

    ``swaps``: by topic and event id, the new value, None for a record that there would not have been. ``extras``: by
    topic and partition, records that there would have been besides, with their times (microseconds).
    """

    swaps: dict[str, dict[str, bytes | None]] = field(default_factory=lambda: defaultdict(dict))
    extras: dict[tuple[str, int], list[tuple[int, MemoryMessage]]] = field(default_factory=lambda: defaultdict(list))


def affected(processors: Sequence[type[Any]], topics: set[TopicPort]) -> list[type[Any]]:
    """Those of ``processors`` (in the order of the flow) that read one of ``topics``, or what such a one writes."""
    reached, found = set(topics), []
    for processor in processors:
        if reached.intersection(processor.reads):
            found.append(processor)
            reached.update(processor.writes)
    return found


class Supposition:
    """A hypothesis and what follows from it. ``records`` are fed to each task before the first commit of the span."""

    def __init__(self, store: Store, records: Records, span: Span, now: int) -> None:
        self.ledger = Ledger()
        self._store, self._records, self._span, self._now = store, records, span, now
        self._stream = Stream()
        self._numbers = counter(HYPOTHETICAL)

    def play(self, processor: type[Any], partition: int) -> Outcome:
        """Make a task's span again, as it was and under the hypothesis. Upstream applications must have been played."""
        outcome = Outcome(processor.name, partition)
        rerun = self._store.rerun(processor, partition)
        twin, entry, pending = rerun, None, self._pending(processor, partition)
        try:
            for entry in walk(self._store, rerun, self._span, self._now, outcome):
                begins = not outcome.commits or entry.anew
                if begins:
                    twin = rerun.twin()
                fed = _once(partial(self._store.fed, partition))
                made = rerun.play(entry, fed)
                count(outcome, entry)
                if differs(entry, made):
                    outcome.difference = locate(entry, made, self._store.committed(processor, entry))
                    return outcome
                if begins:
                    self._suppose(twin, entry)
                _feed(twin, pending, entry.time)
                for segment in entry.record.segments:
                    twin.step(segment, partial(self._altered, fed))
                twin.task.tick(entry.time - _LATE)
                self._compare(entry, made, twin.commit())
            if entry is not None and pending:
                _feed(twin, pending, None)
                self._compare(entry, Made([], entry.record, 0), twin.commit())
        except Gone as error:
            outcome.gone = str(error)
        except Fatal as error:
            outcome.gone = f"under the hypothesis: {error}"
        return outcome

    def _pending(self, processor: type[Any], partition: int) -> list[tuple[int, TopicPort, MemoryMessage]]:
        """What there would have been besides, newest first."""
        found = [
            (time, topic, message)
            for topic in processor.reads
            for time, message in self._stream.extras.get((topic.name, partition), [])
        ]
        return sorted(found, key=lambda one: -one[0])

    def _suppose(self, twin: Rerun, entry: Entry) -> None:
        for topic in twin.processor.reads:
            messages = [
                self._message(key.encode(), topic.encode(_timed(record, entry.time)), entry.time)
                for key, record in self._records.get(topic, {}).items()
            ]
            if messages:
                twin.task.feed(topic, messages)

    def _altered(self, fed: Fed, topic: TopicPort, segment: Any) -> Sequence[MessagePort]:
        messages = fed(topic, segment)
        supposed, swaps = self._records.get(topic), self._stream.swaps.get(topic.name)
        if supposed:
            return [message for message in messages if _text(message.key()) not in supposed]
        return list(self._swapped(messages, swaps)) if swaps else messages

    def _swapped(self, messages: Sequence[MessagePort], swaps: dict[str, bytes | None]) -> Iterator[MessagePort]:
        for message in messages:
            value = swaps.get(self._store.event_id(message), message.value())
            if value is not None:
                yield MemoryMessage(message.key(), value, message.offset(), message.timestamp()[1] * 1000)

    def _compare(self, entry: Entry, made: Made, then: Made) -> None:
        if made.journal.output_hash == then.journal.output_hash and len(made.outputs) == len(then.outputs):
            self.ledger.same(made.outputs)
            return
        new = dict(outputs_of(then))
        for identity, output in outputs_of(made):
            other = new.pop(identity, None)
            if other is None or other.value != output.value:
                self._stream.swaps[output.topic][event_id(output)] = None if other is None else other.value
            self.ledger.note(entry, output, other)
        for output in new.values():
            self._besides(entry, output)
            self.ledger.note(entry, None, output)

    def _besides(self, entry: Entry, output: Output) -> None:
        partitions = self._store.partitions(output.topic)
        place = output.route if isinstance(output.route, int) else partition_of(output.route, partitions)
        message = self._message(output.key, output.value, entry.time)
        self._stream.extras[output.topic, place].append((entry.time, message))

    def _message(self, key: bytes, value: bytes, time: int) -> MemoryMessage:
        return MemoryMessage(key, value, next(self._numbers), time)


def _feed(twin: Rerun, pending: list[tuple[int, TopicPort, MemoryMessage]], until: int | None) -> None:
    """Feed what waits and was written by ``until`` (all for None), in the order of time."""
    while pending and (until is None or pending[-1][0] <= until):
        _, topic, message = pending.pop()
        twin.task.feed(topic, [message])


def _once(fed: Fed) -> Fed:
    """Read each segment of a commit once, for both."""
    known: dict[tuple[str, int], Sequence[MessagePort]] = {}

    def remembered(topic: TopicPort, segment: Any) -> Sequence[MessagePort]:
        place = topic.name, segment.first
        if place not in known:
            known[place] = fed(topic, segment)
        return known[place]

    return remembered


def _timed(record: Any, time: int) -> Any:
    return msgspec.structs.replace(record, event_time=time, receive_time=time)


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="backslashreplace")
