"""One task: one partition of one application. Pure bookkeeping, no Kafka client, so every driver can host it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any

import structlog

from streams.engine import metrics
from streams.engine.emitter import Batch, Emitter
from streams.engine.errors import EngineError, Fatal
from streams.engine.expiry import Dated, Expiring, until_of
from streams.engine.fingerprint import differences, shape_of
from streams.engine.ports import (
    JournalEntry,
    MessagePort,
    Output,
    Poison,
    ProcessorPort,
    SegmentEntry,
    StatePort,
    TopicPort,
    Vocabulary,
    tables_of,
)
from streams.engine.state import COUNTERS, SHAPES, TIMERS, Table
from streams.engine.stores import MemoryStore, Store
from streams.engine.timers import EVENT, WALL, Timers
from streams.engine.watermark import Watermark

log = structlog.get_logger(__name__)
_value: Callable[[Any], Any] = methodcaller("value")
_key: Callable[[Any], Any] = methodcaller("key")
_UNREADABLE = (ValueError, TypeError, RecursionError)
"""What decoding bytes raises: wrong text, no text at all, and a nesting that was made to be too deep."""


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
        store: Store | None = None,
    ) -> None:
        self.application: str = processor.name
        self.partition = partition
        self.vocabulary = vocabulary
        self.named = named
        self.processor: ProcessorPort = processor()
        self.store: Store = store or MemoryStore()
        self.kept = False
        """Whether the state was not read from the changelog's beginning, but goes on from what a store has kept."""
        # First, so that the number of the commit opens its records in the changelog: a replay finds its place by it.
        self.tables: dict[str, Table[Any]] = {COUNTERS: self._table(COUNTERS, int)}
        self._expiring: list[Expiring[Any]] = []
        for name, declared in tables_of(processor):
            setattr(self.processor, name, self._declare(declared))
        self.tables[TIMERS] = self._table(TIMERS, int)
        self.tables[SHAPES] = self._table(SHAPES, str)
        self._shapes = {name: shape_of(table.value) for name, table in self.tables.items() if name[:2] != "__"}
        self.timers = Timers(self.tables[TIMERS])
        self.processor.timers = self.timers
        self.clock = Watermark((t.name for t in processor.reads if not t.broadcast), self.tables[COUNTERS])
        self.out = Emitter(processor.writes, self._written)
        self.offsets: dict[str, int] = {}
        self.committed_offsets: dict[str, int] = {}
        self._newest_only: frozenset[TopicPort] = frozenset(processor.newest_only)
        self._value_of = value_of
        self._key_of = key_of
        self._segments: list[SegmentEntry] = []
        self._poison: list[Poison] = []
        self._fresh_poison: list[Poison] = []
        self._delivered: int | None = None

    def _table(self, name: str, value: Any, expires: Callable[[Any], int] | None = None) -> Table[Any]:
        return Table(name, value, self.store.rows(name, value, expires), expires)

    def _declare(self, declared: StatePort) -> Table[Any] | Expiring[Any]:
        if declared.ttl is None:
            table = self.tables[declared.name] = self._table(declared.name, declared.value)
            return table
        table = self.tables[declared.name] = self._table(declared.name, Dated[declared.value], until_of)  # type: ignore[name-defined]
        self._expiring.append(expiring := Expiring(table, declared.ttl))
        return expiring

    # --- input -------------------------------------------------------------------------------------------------

    def feed(self, topic: TopicPort, messages: Sequence[MessagePort]) -> None:
        """Hand a run of consecutive messages of this task's partition of ``topic`` to the processor."""
        first, last = messages[0].offset(), messages[-1].offset()
        self._segments.append(SegmentEntry(self.named(topic.name), first, last, len(messages), 0))
        self.timers.watermark = self.clock.now
        if self._expiring:
            self._pass_time(messages[-1].timestamp()[1] * 1000)
        if topic in self._newest_only:
            messages = list(dict(zip(map(self._key_of, messages), messages, strict=True)).values())
        try:
            values = list(map(topic.decode, map(self._value_of, messages)))
        except _UNREADABLE:
            messages, values = self._decode_one_by_one(topic, messages)
        if values:
            self._process(Batch(topic, messages, values, self._at, self.bury))
            self.clock.advance(topic.name, getattr(values[-1], "event_time", 0))
            self._fire(EVENT, self.clock.now)
        for table in self._expiring:
            table.sweep()
            table.table.keep()
        self.offsets[topic.name] = last + 1

    def _pass_time(self, now: int) -> None:
        """The log's time goes on to ``now``, in steps that are small enough for what expires."""
        step = min(table.step for table in self._expiring)
        now = now // step * step
        if now > self._expiring[0].now:
            self.tables[COUNTERS].put("log_time", now)
            self.tables[COUNTERS].keep()
            for table in self._expiring:
                table.now = now

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
        if self.clock.idle(topic.name):
            self._segments.append(SegmentEntry(self.named(topic.name), -1, -1, 0, now))
            self._fire(EVENT, self.clock.now)

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
            except _UNREADABLE as error:
                self.bury(topic, message, f"not a valid record of {topic.name}: {error}")
                continue
            good.append(message)
            values.append(value)
        self._keep()
        return good, values

    def _process(self, batch: Batch) -> None:
        try:
            self.processor.on_batch(batch, self.out)
        except EngineError:
            raise  # the state cannot be read: no record is to blame
        except Exception as error:
            self._forget()
            if len(batch.values) > 1:
                for i in range(len(batch.values)):
                    self._process(batch.one(i))
                return
            if not self._poison:  # one trace a commit shows the fault; each letter has its own reason
                log.exception("processor failed on a record", application=self.application, at=str(batch.at(0)))
            reason = f"processor {self.application} failed: {type(error).__name__}: {error}"
            self.bury(batch.topic, batch.messages[0], reason)
        self._keep()

    def _fire(self, clock: str, now: int) -> None:
        self.timers.watermark = self.clock.now
        for key in self.timers.take_due(clock, now):
            try:
                self.processor.on_time(key, now, self.out)
            except EngineError:
                raise
            except Exception as error:
                # No record is to blame, so none can be set aside: the decision itself is broken.
                raise Fatal(
                    f"processor {self.application}[{self.partition}] failed on the {clock}-time timer of key {key!r} "
                    f"due at {now}: {type(error).__name__}: {error}. Nothing of it is committed; it would fail again: "
                    "mend the processor's on_time and start it anew."
                ) from error
            self._keep()

    def _keep(self) -> None:
        for table in self.tables.values():
            table.keep()
        self.out.keep()
        self._poison += self._fresh_poison
        self._fresh_poison.clear()

    def _forget(self) -> None:
        self.timers.forget()
        for table in self.tables.values():
            table.forget()
        self.out.forget()
        self._fresh_poison.clear()

    def _at(self, topic: TopicPort, message: MessagePort) -> Any:
        return self.vocabulary.coordinates(self.named(topic.name), self.partition, message.offset())

    def _written(self, topic: TopicPort, key: str, record: Any, event_id: str) -> Output:
        headers = self.vocabulary.headers(topic, f"processors/{self.application}", event_id, record.event_time)
        return Output(topic.name, key.encode(), topic.encode(record), headers, key.partition("|")[0])

    # --- output ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether anything was fed or fired since the last commit."""
        return bool(self._segments)

    @property
    def has_outputs(self) -> bool:
        """Whether a commit would show anything to a reader of the outputs."""
        return bool(self.out.conflated or self.out.appended or self._poison)

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what is in here."""
        return self.out.urgent

    @property
    def poison(self) -> list[Poison]:
        """The records set aside since the last commit."""
        return self._poison

    @property
    def commits(self) -> int:
        """How many times this task has committed, the one that is being prepared included."""
        return self.tables[COUNTERS].get("commits") or 0

    def drain(self) -> tuple[list[Output], list[tuple[bytes, bytes | None]]]:
        """Outputs and changelog records of this commit. May be called again after an abort and a new feed.

        Raises Fatal when the processor wants to write what cannot be written.
        """
        commit = self.commits + 1
        self.tables[COUNTERS].put("commits", commit)
        self.clock.save()
        self.tables[COUNTERS].keep()
        self._note_shapes()
        outputs = self._conflated(commit)
        outputs += (output for _, output in self.out.appended)
        outputs += map(self.vocabulary.dead_letter, self._poison)
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
                    event_time=self.clock.now or self.clock.newest,
                )
            )
        )
        changes = [change for table in self.tables.values() for change in table.changes()]
        return outputs, changes

    def _note_shapes(self) -> None:
        known = self.tables[SHAPES]
        for name, shape in self._shapes.items():
            if known.get(name) != shape:
                known.put(name, shape)
        known.keep()

    def _conflated(self, commit: int) -> list[Output]:
        outputs: list[Output] = []
        for n, ((topic, key), record) in enumerate(self.out.conflated.items()):
            try:
                outputs.append(self._written(topic, key, record, f"{self.application}-{self.partition}-{commit}-{n}"))
            except (*_UNREADABLE, AttributeError, OverflowError) as error:
                raise Fatal(
                    f"processor {self.application}[{self.partition}] cannot write key {key!r} of topic {topic.name}: "
                    f"{type(error).__name__}: {error}. Nothing of it is committed; mend what builds {record!r:.300}"
                ) from error
        return outputs

    def committed(self) -> None:
        """The transaction is committed: only now the overlay becomes the state."""
        if self._delivered is not None:
            self.store.position = self._delivered
        with self.store.writing():
            for table in self.tables.values():
                table.merge()
        self.committed_offsets.update(self.offsets)
        metrics.dead_letters.labels(self.application).inc(len(self._poison))
        self._clear()

    def abort(self) -> None:
        """The transaction is gone: back to the committed state and offsets."""
        self.timers.abort()
        for table in self.tables.values():
            table.abort()
        self.clock.load()
        self.offsets = dict(self.committed_offsets)
        self._clear()

    def delivered(self, offset: int) -> None:
        """The last changelog record of the commit in progress was given this offset; may be left out."""
        self._delivered = offset + 1

    def _clear(self) -> None:
        for table in self._expiring:
            table.begin(self.tables[COUNTERS].get("log_time") or 0)
        self._delivered = None
        self.out.clear()
        self._segments = []
        self._poison = []
        self._fresh_poison = []

    @property
    def keys(self) -> int:
        """Keys in the committed tables, perhaps estimated."""
        return self.store.size

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

    def wipe(self) -> None:
        """Forget everything: what the store holds cannot be trusted."""
        self.store.wipe()
        for table in self.tables.values():
            table.committed = self.store.rows(table.name, table.value, table.expires)

    def restored(self) -> None:
        """The changelog has been read to its end. Raises ValueError when the state is of another shape."""
        for name, written in self.tables[SHAPES].items():
            if found := differences(written, self._shapes.get(name, written)):
                raise ValueError(f"table {name!r}: {'; '.join(found)}")
        self.timers.rebuild()
        self.clock.load()
        self._clear()
