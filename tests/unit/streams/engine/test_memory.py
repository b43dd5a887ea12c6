"""The in-memory driver: a crash anywhere changes nothing of what was decided, and it routes as a cluster does."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.engine.partitions import partition_of
from streams.vocabulary import MemoryDriver

T = 1_795_000_000_000_000


def tick(instrument: str, sequence: int, event_time: int) -> Tick:
    return Tick(
        instrument=instrument,
        venue="v",
        bid=1.0,
        ask=1.0,
        sequence=sequence,
        event_time=event_time,
        receive_time=event_time,
    )


class Watching(Processor):
    """Counts ticks, and tells by both clocks when an instrument has been silent for ten microseconds."""

    name = "watching"
    reads = (topics.ticks,)
    writes = (topics.telemetry,)
    counts = State(int)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for i, record in enumerate(batch.values):
            if record.sequence == 13:
                raise ValueError("unlucky")
            count = (self.counts.get(record.instrument) or 0) + 1
            self.counts.put(record.instrument, count)
            self.timers.at_event(record.instrument, record.event_time + 10)
            self.timers.at_wall(record.instrument, record.event_time + 10)
            self.say(out, record.instrument, "count", count, str(batch.at(i)))

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        self.say(out, key, "silent", now - T, f"{key}-{now}")

    def say(self, out: Emitter, key: str, point: str, value: int, event_id: str) -> None:
        record = Telemetry(
            device=key, point=point, value=float(value), unit="1", sequence=value, event_time=T, receive_time=T
        )
        out.append(topics.telemetry, key, record, event_id=event_id)


class Copying(Processor):
    """The next in line."""

    name = "copying"
    reads = (topics.telemetry,)
    writes = (topics.observations,)
    seen = State(int)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for record in batch.values:
            self.seen.put(record.device, (self.seen.get(record.device) or 0) + 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from("abc"), st.integers(0, 15)),
        st.tuples(st.just("bad"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("run"), st.just(""), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 30)),
    ),
    max_size=30,
)


def played(steps: list[tuple[str, str, int]], partitions: int, crashes: set[int]) -> Any:
    driver = MemoryDriver([Watching, Copying], partitions=partitions)
    now = driver.now = T
    for number, (what, key, value) in enumerate(steps):
        if what == "tick":
            driver.publish(topics.ticks, key, tick(key, value, now + value))
        elif what == "bad":
            driver.publish(topics.ticks, key, value=b"{")
        elif what == "run":
            driver.run()
        else:
            now += value
            driver.advance(now)
        if number in crashes:
            driver.crash()
    driver.run()
    state = [{name: dict(table.items()) for name, table in task.tables.items()} for task in driver.tasks]
    letters = [(p.topic, p.partition, p.offset, p.reason) for p in driver.dead_letters]
    written = {place: [(m.key(), m.value()) for m in queue] for place, queue in driver.log.items()}
    return state, letters, written


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([1, 3]), st.sets(st.integers(0, 29)))
def test_driver_when_it_crashes_anywhere_decides_the_same(steps, partitions, crashes):
    """State, every output of every topic, the journal with its hashes, and the dead letters."""
    assert played(steps, partitions, crashes) == played(steps, partitions, set())


def test_driver_when_a_topic_is_broadcast_gives_it_to_every_task_and_counts_it_once():
    class Listening(Processor):
        name = "listening"
        reads = (topics.ticks, topics.control)
        writes = ()
        heard = State(int)

        def on_batch(self, batch: Batch, out: Emitter) -> None:
            if batch.topic is topics.control:
                self.heard.put("heard", len(batch.values))

    driver = MemoryDriver([Listening], partitions=3)
    switch = b'{"scope":"all","version":1,"engaged":true,"reason":"r","actor":"a","event_time":%d,"receive_time":%d}'
    driver.publish(topics.control, "all", value=switch % (T, T))
    driver.run()
    assert [task.processor.heard.get("heard") for task in driver.tasks] == [1, 1, 1]
    assert len(driver.records(topics.control)) == 1


def test_driver_when_a_key_has_parts_routes_by_the_first():
    driver = MemoryDriver([Watching], partitions=4)
    driver.publish(topics.ticks, "a|b", tick("a", 1, T))
    driver.publish(topics.ticks, "a", tick("a", 2, T))
    place = partition_of("a", 4)
    assert [m.key() for m in driver.log["ticks", place]] == [b"a|b", b"a"]
    driver.run()
    assert driver.tasks[place].processor.counts.get("a") == 2


def test_driver_when_records_pass_through_it_encodes_and_decodes_them():
    driver = MemoryDriver([Watching], partitions=1)
    driver.publish(topics.ticks, "a", tick("a", 1, T))
    driver.run()
    (message,) = driver.log["telemetry", 0]
    assert msgspec.json.decode(message.value())["point"] == "count"
    assert dict(message.headers)["ce_id"] == b"ticks[0]@0"
    assert driver.latest(topics.telemetry)["a"].value == 1.0
