"""One processor in one Faust application: agent, ``take``, ``on_batch``.

Faust brings the group, the co-partitioning, the state's changelog and its recovery; the task is the native engine's
own. At least once is made of two things. The order of writing: outputs, then state, each acknowledged by Kafka, then
the events are acknowledged to Faust, which commits their offsets some time later. And a count of the offsets: Faust
may commit past a record that it has not handed on, so what is missing is read from Kafka before anything behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator, Sequence, Set
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

import faust
import structlog
from faust.types import TP
from yarl import URL

from streams.engine.cluster import Cluster
from streams.engine.memory import MemoryMessage
from streams.engine.partitions import partition_of
from streams.engine.ports import Output, TopicPort, Vocabulary
from streams.engine.task import Task
from streams.engine.worker import Options
from streams.faust_driver.consumer import SeekFirst, Transport
from streams.faust_driver.log import Log

log = structlog.get_logger(__name__)
R = TypeVar("R")
_TAKEN = 0.05
"""Seconds that a batch is gathered: Faust hands a batch over when it is full or after this time, never before."""
_TICK = 0.1
"""Seconds between two looks at the wall-clock timers."""


class Host:
    """Runs ``processor`` on the partitions that the group gives to its application, from within one event loop."""

    def __init__(
        self,
        cluster: Cluster,
        processor: type[Any],
        vocabulary: Vocabulary,
        *,
        partitions: int,
        replication: int = 1,
        options: Options | None = None,
    ) -> None:
        self.processor = processor
        self.name = f"{processor.name}-faust"
        self._cluster, self._vocabulary = cluster, vocabulary
        self._partitions, self._replication = partitions, replication
        self._options = options or Options()
        self._topics: dict[str, TopicPort] = {cluster.named(topic.name): topic for topic in processor.reads}
        self._lead = cluster.named(processor.reads[0].name)
        self._tasks: dict[int, Task] = {}
        self._due: dict[TP, int] = {}
        """The offset that each input of the tasks goes on with."""
        self._heard: dict[TP, float] = {}
        self._ends: dict[TP, int] = {}
        self._lock = asyncio.Lock()
        self._log = Log(cluster, self.name)

    def build(self, folder: Path) -> faust.App:
        """The application; ``folder`` is where Faust wants one. Call it in the event loop that will run it."""
        brokers = [f"kafka://{address}" for address in self._cluster.bootstrap.split(",")]
        self.app = app = faust.App(
            self._cluster.named(self.name),
            broker=";".join(brokers),
            store="memory://",
            key_serializer="raw",
            value_serializer="raw",
            datadir=folder,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=True,  # the changelog of its table
            topic_partitions=self._partitions,
            topic_replication_factor=self._replication,
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=self._options.commit_interval,
            broker_session_timeout=self._options.session_timeout,
            broker_heartbeat_interval=self._options.session_timeout / 10,
            stream_wait_empty=False,
            stream_ack_exceptions=False,
            stream_ack_cancelled_tasks=False,
        )
        app.transport = Transport([URL(broker) for broker in brokers], app)
        self._table = app.Table("state", partitions=self._partitions, key_type=bytes, value_type=bytes)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        app.agent(app.topic(*self._topics, key_type=bytes, value_type=bytes), name=self.name)(self._consume)
        app.timer(_TICK)(self._tick)
        return app

    @property
    def _consumer(self) -> SeekFirst:
        return cast(SeekFirst, self.app.consumer)

    # --- input -------------------------------------------------------------------------------------------------

    async def _consume(self, stream: Any) -> None:
        # noack: take() and take_events() acknowledge even what the loop's body has failed on.
        async for events in stream.noack_take(self._options.batch, within=_TAKEN):
            for event in await self._guarded(self._process(events)):
                await stream.ack(event)

    async def _tick(self) -> None:
        await self._guarded(self._look_at_clocks())

    async def _guarded(self, work: Awaitable[R]) -> R:
        """One thing at a time; whatever fails ends the application, or Faust would go on without it."""
        try:
            async with self._lock:
                return await work
        except Exception as error:
            await self.app.crash(error)
            raise

    async def _process(self, events: Sequence[Any]) -> Sequence[Any]:
        """Decide ``events``; those of partitions that are gone are left to whoever has them. Returns the decided."""
        owned = self._consumer.assignment() if self._consumer.flowing else ()
        mine = [event for event in events if event.message.tp in owned]
        for place, run in groupby((event.message for event in mine), lambda message: message.tp):
            task = await self._task(place.partition)
            found = [MemoryMessage(m.key, m.value, m.offset, round(m.timestamp * 1000) * 1000) for m in run]
            if batch := await self._unbroken(place, found):
                task.feed(self._topics[place.topic], batch)
            self._heard[place] = time.monotonic()
        await self._write()
        return mine

    async def _unbroken(self, place: TP, found: list[MemoryMessage]) -> list[MemoryMessage]:
        """What is due of ``found``, and what Faust has left out of it.

        Numbers may be missing for good: those of transactions' ends, and of what compaction took.
        """
        due, end = self._due[place], max(message.offset() for message in found) + 1
        fresh = [message for message in found if message.offset() >= due]
        if [message.offset() for message in fresh] == list(range(due, end)):
            self._due[place] = max(due, end)
            return fresh
        return await self._read(place, end, {message.offset() for message in fresh})

    async def _read(self, place: TP, end: int, known: Set[int] = frozenset()) -> list[MemoryMessage]:
        """What is in the log from what is due up to ``end``; ``known``: the offsets of it that Faust has handed on."""
        due = self._due[place]
        if end <= due:
            return []
        topic = self._topics[place.topic].name
        records = await asyncio.to_thread(self._log.between, topic, place.partition, due, end)
        left_out = [record.offset() for record in records if record.offset() not in known]
        if left_out:
            at = f"{place.topic}[{place.partition}]"
            log.warning("Faust has not handed on all records; they were read from Kafka", at=at, offsets=left_out[:100])
            for offset in left_out:
                await self._consumer.decided(place, offset)
        self._due[place] = end
        return records

    async def _look_at_clocks(self) -> None:
        """Fire what is due by the wall clock, and tell which inputs have fallen silent."""
        if not self._consumer.flowing:
            return
        now = time.time_ns() // 1000
        for lead in [tp for tp in self._consumer.assignment() if tp.topic == self._lead]:
            task = await self._task(lead.partition)
            task.tick(now)
            for name, topic in self._topics.items():
                place = TP(name, lead.partition)
                if (end := await self._silent(place)) is None:
                    continue
                if batch := await self._read(place, end):
                    task.feed(topic, batch)
                task.idle(topic, now)
        await self._write()

    async def _silent(self, place: TP) -> int | None:
        """Where the log ends, when all of it was fetched and nothing has been handed on for a while since."""
        now = time.monotonic()
        if now - self._heard.setdefault(place, now) < self._options.idle_after:
            return None
        position: int | None = await self._consumer.position(place)
        if position is None or position < (self._consumer.highwater(place) or 0):
            return None
        if self._ends.get(place) != position:
            self._ends[place], self._heard[place] = position, now  # what was fetched may be on its way
            return None
        return position

    # --- output ------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        tasks = [task for task in self._tasks.values() if task.waiting]
        drained = [(task, *task.drain()) for task in tasks]
        # The last output is the journal record: of commits that may be repeated in part, none can be kept.
        await self._send(output for _, outputs, _ in drained for output in outputs[:-1])
        kept = [self._keep(task.partition, key, value) for task, _, changes in drained for key, value in changes]
        await asyncio.gather(*kept)
        for task in tasks:
            task.committed()

    async def _send(self, outputs: Iterator[Output]) -> None:
        producer = self.app.producer
        sent = []
        for output in outputs:
            place = output.route if isinstance(output.route, int) else partition_of(output.route, self._partitions)
            headers = [(name, v.encode() if isinstance(v, str) else v or b"") for name, v in output.headers]
            name = self._cluster.named(output.topic)
            sent.append(await producer.send(name, output.key, output.value, place, None, headers))
        await asyncio.gather(*sent)

    def _keep(self, partition: int, key: bytes, value: bytes | None) -> Any:
        key = b"%d/%s" % (partition, key)
        if value is None:
            self._table.data.pop(key, None)
        else:
            self._table.data[key] = value
        return self._table.send_changelog(partition, key, value)

    # --- tasks come and go -------------------------------------------------------------------------------------

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        """Before every rebalance: all partitions are given back."""
        async with self._lock:
            self._tasks.clear()
            self._due.clear()
            self._heard.clear()
            self._ends.clear()

    async def _task(self, partition: int) -> Task:
        """The task of a partition: with its state, and with all that is broadcast already known to it."""
        if (known := self._tasks.get(partition)) is not None:
            return known
        task = Task(self.processor, partition, self._vocabulary, named=self._cluster.named)
        prefix = b"%d/" % partition
        for key, value in self._table.data.items():
            if key.startswith(prefix):
                task.restore(key[len(prefix) :], value)
        task.restored()
        due = await asyncio.to_thread(self._log.offsets, [t.name for t in self._topics.values()], partition)
        for name, topic in self._topics.items():
            if topic.broadcast and (
                batch := await asyncio.to_thread(self._log.waiting, topic.name, partition, due[topic.name])
            ):
                task.feed(topic, batch)
                due[topic.name] = batch[-1].offset() + 1
            self._due[TP(name, partition)] = due[topic.name]
        self._tasks[partition] = task
        log.info("task running", application=self.name, partition=partition, keys=task.keys)
        return task

    def close(self) -> None:
        """Leave Kafka, after the application has."""
        self._log.close()
