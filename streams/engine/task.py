"""One task: one partition of one application. Pure bookkeeping, no Kafka client, so every driver can host it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from typing import Any

import structlog

from streams.engine import metrics
from streams.engine.ports import (
    JournalEntry,
    MessagePort,
    Output,
    Poison,
    ProcessorPort,
    SegmentEntry,
    TopicPort,
    Vocabulary,
    tables_of,
)
from streams.engine.state import EVENT, WALL, Table, Timers, counters

log = structlog.get_logger(__name__)
_value: Callable[[Any], Any] = methodcaller("value")
_key: Callable[[Any], Any] = methodcaller("key")


class Batch:
    """Decoded records of one topic and partition, in consumed order."""

    __slots__ = ("_messages", "_task", "topic", "values")

    def __init__(self, task: Task, topic: TopicPort, messages: Sequence[MessagePort], values: list[Any]) -> None:
        self._task = task
        self._messages = messages
        self.topic = topic
        self.values = values

    def key(self, index: int) -> str:
        """Message key of the record at ``index``; empty when it had none."""
        key = self._messages[index].key()
        return key.decode("utf-8", "backslashreplace") if key else ""

    def at(self, index: int) -> Any:
        """Coordinates of the record at ``index``, under the topic's name on the cluster."""
        task = self._task
        return task.vocabulary.coordinates(task.named(self.topic.name), task.partition, self._messages[index].offset())

    def reject(self, index: int, reason: str) -> None:
        """Send the record at ``index`` to the dead letters."""
        self._task.bury(self.topic, self._messages[index], reason)


class Emitter:
    """Collects outputs; a failed batch takes back only its own."""

    def __init__(self, writes: Iterable[TopicPort]) -> None:
        self._writes = frozenset(writes)
        self.conflated: dict[tuple[TopicPort, str], Any] = {}
        self.appended: list[tuple[TopicPort, str, Any, str]] = []
        self.fresh_conflated: dict[tuple[TopicPort, str], Any] = {}
        self.fresh_appended: list[tuple[TopicPort, str, Any, str]] = []
        self.urgent = False

    def latest(self, topic: TopicPort, key: str, record: Any) -> None:
        """Write ``record``; of several with the same topic and key in one commit only the newest is written."""
        if topic not in self._writes:
            raise ValueError(f"topic {topic.name} is not among the processor's writes")
        self.fresh_conflated[topic, key] = record

    def append(self, topic: TopicPort, key: str, record: Any, *, event_id: str) -> None:
        """Write ``record``, every one, in order."""
        if topic not in self._writes:
            raise ValueError(f"topic {topic.name} is not among the processor's writes")
        self.fresh_appended.append((topic, key, record, event_id))

    def keep(self) -> None:
        """The batch succeeded."""
        for topic, _ in self.fresh_conflated:
            self.urgent = self.urgent or topic.urgent
        self.conflated.update(self.fresh_conflated)
        self.fresh_conflated.clear()
        if self.fresh_appended:
            self.urgent = self.urgent or any(topic.urgent for topic, *_ in self.fresh_appended)
            self.appended += self.fresh_appended
            self.fresh_appended.clear()

    def forget(self) -> None:
        """The batch failed."""
        self.fresh_conflated.clear()
        self.fresh_appended.clear()

    def clear(self) -> None:
        """Everything was committed, or is gone."""
        self.forget()
        self.conflated.clear()
        self.appended.clear()
        self.urgent = False


class Task:
    """A processor with its tables, timers and watermark, the journal of what it was fed, and what waits to be written.

    ``feed``, ``tick`` and ``idle`` change it; ``drain`` gives what to put into the transaction; then exactly one of
    ``committed`` and ``abort`` follows.
    """

    def __init__(
        self,
        processor: type[Any],
        partition: int,
        vocabulary: Vocabulary,
        *,
        named: Callable[[str], str] = str,
        value_of: Callable[[Any], Any] = _value,
        key_of: Callable[[Any], Any] = _key,
    ) -> None:
        self.application: str = processor.name
        self.partition = partition
        self.vocabulary = vocabulary
        self.named = named
        self.processor: ProcessorPort = processor()
        self.tables: dict[str, Table[Any]] = {}
        for name, declared in tables_of(processor):
            self.tables[name] = Table(declared.name, declared.value)
            setattr(self.processor, name, self.tables[name])
        self.tables["__timers"] = Table("__timers", int)
        self.tables["__task"] = counters()
        self.timers = Timers(self.tables["__timers"])
        self.processor.timers = self.timers
        self.out = Emitter(processor.writes)
        self.offsets: dict[str, int] = {}
        self.committed_offsets: dict[str, int] = {}
        self._newest_only: frozenset[TopicPort] = frozenset(processor.newest_only)
        self._value_of = value_of
        self._key_of = key_of
        self._segments: list[SegmentEntry] = []
        self._poison: list[Poison] = []
        self._fresh_poison: list[Poison] = []
        self._event_times: dict[str, int] = {t.name: 0 for t in processor.reads if not t.broadcast}
        self._idle: set[str] = set()
        self.watermark = 0

    # --- input -------------------------------------------------------------------------------------------------

    def feed(self, topic: TopicPort, messages: Sequence[MessagePort]) -> None:
        """Hand a run of consecutive messages of this task's partition of ``topic`` to the processor."""
        first, last = messages[0].offset(), messages[-1].offset()
        self._segments.append(SegmentEntry(self.named(topic.name), first, last, len(messages), 0))
        if topic in self._newest_only:
            messages = list(dict(zip(map(self._key_of, messages), messages, strict=True)).values())
        try:
            values = list(map(topic.decode, map(self._value_of, messages)))
        except (ValueError, TypeError):
            messages, values = self._decode_one_by_one(topic, messages)
        if values:
            self._process(Batch(self, topic, messages, values))
            if topic.name in self._event_times:
                self._advance(topic.name, getattr(values[-1], "event_time", 0))
        self.offsets[topic.name] = last + 1

    def tick(self, now: int) -> bool:
        """Fire the wall-clock timers due at ``now`` (microseconds); recorded in the journal when any fired."""
        first = self.timers.next_due(WALL)
        if first is None or first > now:
            return False
        self._segments.append(SegmentEntry("", -1, -1, 0, now))
        self._fire(WALL, now)
        return True

    def idle(self, topic: TopicPort, now: int) -> None:
        """``topic`` is caught up and silent: its partition no longer holds the watermark back. Recorded."""
        if topic.name in self._event_times and topic.name not in self._idle:
            self._segments.append(SegmentEntry(self.named(topic.name), -1, -1, 0, now))
            self._idle.add(topic.name)
            self._move_watermark()

    def bury(self, topic: TopicPort, message: MessagePort, reason: str) -> None:
        """Remember a poison record; it is written to the dead letters in the same transaction."""
        key, raw = message.key(), message.value()
        self._fresh_poison.append(
            Poison(
                application=self.application,
                topic=self.named(topic.name),
                partition=self.partition,
                offset=message.offset(),
                key=key,
                raw=raw or b"",
                reason=reason,
                timestamp=message.timestamp()[1] * 1000,
            )
        )

    def _decode_one_by_one(
        self, topic: TopicPort, messages: Sequence[MessagePort]
    ) -> tuple[list[MessagePort], list[Any]]:
        good: list[MessagePort] = []
        values: list[Any] = []
        for message in messages:
            raw = message.value()
            if raw is None:
                self.bury(
                    topic, message, "the record has no value (a tombstone); retire it with active = false instead"
                )
                continue
            try:
                value = topic.decode(raw)
            except (ValueError, TypeError) as error:
                self.bury(topic, message, f"not a valid record of {topic.name}: {error}")
                continue
            good.append(message)
            values.append(value)
        self._keep()
        return good, values

    def _process(self, batch: Batch) -> None:
        try:
            self.processor.on_batch(batch, self.out)
        except Exception as error:
            self._forget()
            if len(batch.values) > 1:
                for i, value in enumerate(batch.values):
                    self._process(Batch(self, batch.topic, batch._messages[i : i + 1], [value]))
                return
            log.exception("processor failed on a record", application=self.application, at=str(batch.at(0)))
            self.bury(
                batch.topic, batch._messages[0], f"processor {self.application} failed: {type(error).__name__}: {error}"
            )
        self._keep()

    def _fire(self, clock: str, now: int) -> None:
        for key in self.timers.take_due(clock, now):
            try:
                self.processor.on_time(key, now, self.out)
            except Exception:
                # No record is to blame, so none can be set aside: the decision itself is broken.
                log.exception("processor failed on a timer", application=self.application, key=key, clock=clock)
                self._forget()
                raise
            self._keep()

    def _advance(self, topic: str, event_time: int) -> None:
        self._idle.discard(topic)
        if event_time > self._event_times[topic]:
            self._event_times[topic] = event_time
            self._move_watermark()

    def _move_watermark(self) -> None:
        active = [time for topic, time in self._event_times.items() if topic not in self._idle]
        if active and min(active) > self.watermark:
            self.watermark = min(active)
            first = self.timers.next_due(EVENT)
            if first is not None and first <= self.watermark:
                self._fire(EVENT, self.watermark)

    def _keep(self) -> None:
        for table in self.tables.values():
            table.keep()
        self.out.keep()
        self._poison += self._fresh_poison
        self._fresh_poison.clear()

    def _forget(self) -> None:
        for table in self.tables.values():
            table.forget()
        self.out.forget()
        self._fresh_poison.clear()
        self.timers.rebuild()

    # --- output ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether anything was fed or fired since the last commit."""
        return bool(self._segments)

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what is in here."""
        return self.out.urgent

    @property
    def poison(self) -> list[Poison]:
        """The records set aside since the last commit."""
        return self._poison

    def drain(self) -> tuple[list[Output], list[tuple[bytes, bytes | None]]]:
        """Outputs and changelog records of this commit. May be called again after an abort and a new feed."""
        task = self.tables["__task"]
        commit = (task.get("commits") or 0) + 1
        task.put("commits", commit)
        task.keep()
        source = f"processors/{self.application}"
        outputs: list[Output] = []
        headers = self.vocabulary.headers
        for n, ((topic, key), record) in enumerate(self.out.conflated.items()):
            event_id = f"{self.application}-{self.partition}-{commit}-{n}"
            outputs.append(
                Output(
                    topic.name,
                    key.encode(),
                    topic.encode(record),
                    headers(topic, source, event_id, record.event_time),
                    key.partition("|")[0],
                )
            )
        for topic, key, record, event_id in self.out.appended:
            outputs.append(
                Output(
                    topic.name,
                    key.encode(),
                    topic.encode(record),
                    headers(topic, source, event_id, record.event_time),
                    key.partition("|")[0],
                )
            )
        outputs += map(self.vocabulary.dead_letter, self._poison)
        metrics.dead_letters.labels(self.application).inc(len(self._poison))
        digest = hashlib.blake2b(digest_size=16)
        for output in outputs:
            digest.update(b"%s\0%s\0%s\n" % (output.topic.encode(), output.key, output.value))
        outputs.append(
            self.vocabulary.journal(
                JournalEntry(
                    application=self.application,
                    partition=self.partition,
                    commit=commit,
                    segments=self._segments,
                    outputs=len(outputs),
                    output_hash=digest.hexdigest(),
                    event_time=self.watermark or max(self._event_times.values(), default=0),
                )
            )
        )
        changes = [change for table in self.tables.values() for change in table.changes()]
        return outputs, changes

    def committed(self) -> None:
        """The transaction is committed: only now the overlay becomes the state."""
        for table in self.tables.values():
            table.merge()
        self.committed_offsets.update(self.offsets)
        self._clear()

    def abort(self) -> None:
        """The transaction is gone: back to the committed state and offsets."""
        for table in self.tables.values():
            table.abort()
        self.offsets = dict(self.committed_offsets)
        self._clear()
        self.timers.rebuild()

    def _clear(self) -> None:
        self.out.clear()
        self._segments = []
        self._poison = []
        self._fresh_poison = []

    @property
    def keys(self) -> int:
        """Keys in the committed tables."""
        return sum(len(table.committed) for table in self.tables.values())

    # --- restore -----------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record. Raises ValueError naming table and key when it does not fit."""
        table, _, name = key.decode().partition("/")
        try:
            self.tables[table].restore(name, value)
        except KeyError:
            raise ValueError(f"table {table!r} is not one of {self.application}: {sorted(self.tables)}") from None
        except ValueError as error:
            raise ValueError(f"table {table!r} key {name!r}: {error}") from error

    def restored(self) -> None:
        """The changelog has been read to its end."""
        self.timers.rebuild()
