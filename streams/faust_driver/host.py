"""One processor in one Faust application: agent, ``take``, ``on_batch``.

Faust brings the group, the co-partitioning, the state's changelog and its recovery; the task is the native engine's
own. The order of writing is what makes it at least once: outputs, then state, each acknowledged by Kafka, then the
events are acknowledged to Faust, which commits their offsets some time later.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import faust
import structlog
from faust.types import TP

from streams.engine.cluster import Cluster
from streams.engine.memory import MemoryMessage
from streams.engine.partitions import partition_of
from streams.engine.ports import Output, TopicPort, Vocabulary
from streams.engine.task import Task
from streams.engine.worker import Options
from streams.faust_driver.broadcast import waiting

log = structlog.get_logger(__name__)
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
        self._heard: dict[TP, float] = {}
        self._recovered = False
        self._lock = asyncio.Lock()

    def build(self, folder: Path) -> faust.App:
        """The application; ``folder`` is where Faust wants one. Call it in the event loop that will run it."""
        self.app = app = faust.App(
            self._cluster.named(self.name),
            broker=";".join(f"kafka://{address}" for address in self._cluster.bootstrap.split(",")),
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
        self._table = app.Table(
            "state", partitions=self._partitions, on_recover=self._on_recover, key_type=bytes, value_type=bytes
        )
        app.on_partitions_revoked.connect(self._on_change, weak=False)
        app.on_partitions_assigned.connect(self._on_change, weak=False)
        app.agent(app.topic(*self._topics, key_type=bytes, value_type=bytes), name=self.name)(self._consume)
        app.timer(_TICK)(self._tick)
        return app

    # --- input -------------------------------------------------------------------------------------------------

    async def _consume(self, stream: Any) -> None:
        # noack: take() and take_events() acknowledge even what the loop's body has failed on.
        async for events in stream.noack_take(self._options.batch, within=_TAKEN):
            await self._guarded(self._process(events))
            for event in events:
                await stream.ack(event)

    async def _tick(self) -> None:
        if self._recovered:
            await self._guarded(self._look_at_clocks())

    async def _guarded(self, work: Awaitable[None]) -> None:
        """One thing at a time; whatever fails ends the application, or Faust would go on without it."""
        try:
            async with self._lock:
                await work
        except Exception as error:
            await self.app.crash(error)
            raise

    async def _process(self, events: Iterable[Any]) -> None:
        for (name, partition), run in groupby((event.message for event in events), lambda m: (m.topic, m.partition)):
            task = await self._task(partition)
            topic = self._topics[name]
            expected = task.offsets.get(topic.name, 0)
            batch = [
                MemoryMessage(m.key, m.value, m.offset, round(m.timestamp * 1000) * 1000)
                for m in run
                if m.offset >= expected
            ]
            if batch:
                task.feed(topic, batch)
            self._heard[TP(name, partition)] = time.monotonic()
        await self._write()

    async def _look_at_clocks(self) -> None:
        """Fire what is due by the wall clock, and tell which inputs have fallen silent."""
        now = time.time_ns() // 1000
        for place in [tp for tp in self.app.consumer.assignment() if tp.topic == self._lead]:
            task = await self._task(place.partition)
            task.tick(now)
            for name, topic in self._topics.items():
                if await self._silent(TP(name, place.partition)):
                    task.idle(topic, now)
        await self._write()

    async def _silent(self, place: TP) -> bool:
        since = self._heard.setdefault(place, time.monotonic())
        if time.monotonic() - since < self._options.idle_after:
            return False
        position = await self.app.consumer.position(place)
        return position is not None and position >= (self.app.consumer.highwater(place) or 0)

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

    async def _send(self, outputs: Iterable[Output]) -> None:
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

    async def _on_change(self, *_: Any, **__: Any) -> None:
        async with self._lock:
            self._recovered = False
            self._tasks.clear()
            self._heard.clear()

    async def _on_recover(self, *_: Any) -> None:
        self._recovered = True

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
        group, wanted = self._cluster.named(self.name), [t for t in self._topics.values() if t.broadcast]
        batches = await asyncio.to_thread(waiting, self._cluster, group, wanted, partition)
        runs: dict[TopicPort, list[MemoryMessage]] = defaultdict(list, batches)
        for topic, messages in runs.items():
            if messages:
                task.feed(topic, messages)
        self._tasks[partition] = task
        log.info("task running", application=self.name, partition=partition, keys=task.keys)
        return task
