"""One task: poison records, layers of state, conflation, the journal and timers."""

from __future__ import annotations

from typing import Any

import pytest

from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.engine.errors import Fatal
from streams.engine.memory import MemoryMessage
from streams.engine.task import Task
from streams.vocabulary import Words

T = 1_795_000_000_000_000


def tick(instrument: str, price: float = 1.0, event_time: int = T) -> Tick:
    return Tick(
        instrument=instrument,
        venue="v",
        bid=price,
        ask=price,
        sequence=1,
        event_time=event_time,
        receive_time=event_time,
    )


class Counting(Processor):
    """Counts ticks per instrument; refuses ``bad``, fails on ``boom``, remembers the order in which it was fed."""

    name = "counting"
    reads = (topics.ticks, topics.telemetry)
    writes = (topics.telemetry, topics.ticks)
    counts = State(int)
    order: list[str]

    def __init__(self) -> None:
        self.order = []

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for index, record in enumerate(batch.values):
            key = batch.key(index)
            if key == "bad":
                batch.reject(index, "it is bad")
                continue
            if key == "boom":
                raise RuntimeError("no way")
            count = (self.counts.get(key) or 0) + 1
            self.counts.put(key, count)
            self.order.append(key)
            out.latest(topics.ticks, key, record)
            sample = Telemetry(
                device=key,
                point="count",
                value=float(count),
                unit="1",
                sequence=count,
                event_time=T,
                receive_time=T,
            )
            out.append(topics.telemetry, key, sample, event_id=str(batch.at(index)))


def message(offset: int, key: str, value: bytes | None) -> MemoryMessage:
    return MemoryMessage(key.encode(), value, offset, T)


def fed(*keys: str, processor: type[Processor] = Counting) -> Task:
    task = Task(processor, 0, Words())
    task.feed(topics.ticks, [message(i, key, topics.ticks.encode(tick(key))) for i, key in enumerate(keys)])
    return task


def values(task: Task) -> dict[str, Any]:
    return dict(task.tables["counts"].items())


def test_record_when_it_cannot_be_decoded_is_buried_and_its_neighbours_are_processed_in_order() -> None:
    task = Task(Counting, 0, Words())
    good = topics.ticks.encode(tick("a"))
    batch = [message(0, "a", good), message(1, "x", b"{"), message(2, "y", b"\xff\xfe"), message(3, "b", good)]
    task.feed(topics.ticks, [*batch, message(4, "z", None)])

    assert task.processor.order == ["a", "b"]  # type: ignore[attr-defined]
    assert [(p.offset, p.raw) for p in task.poison] == [(1, b"{"), (2, b"\xff\xfe"), (4, b"")]
    assert "not a valid record of ticks" in task.poison[0].reason
    assert task.offsets["ticks"] == 5


@pytest.mark.parametrize(
    "raw",
    [
        b'{"instrument":"i","venue":"v","bid":NaN,"ask":1,"sequence":1,"event_time":1795000000000000,"receive_time":1}',
        b'{"instrument":"i","venue":"v","bid":1e999,"ask":1,"sequence":1,"event_time":1795000000000000}',
        topics.ticks.encode(tick("i")).replace(b"1795000000000000", b"1000"),
        topics.ticks.encode(tick("i")).replace(b"1795000000000000", b"4102444800000000"),
        topics.ticks.encode(tick("i")).replace(b'"sequence":1,', b""),
        topics.ticks.encode(tick("i")).replace(b'"sequence":1,', b'"sequence":"1",'),
        b"[" * 100_000,
        b"x" * 2_000_000,
    ],
    ids=["nan", "infinity", "1970", "2100", "missing-field", "wrong-type", "deep", "two-megabytes"],
)
def test_record_when_bad_input_becomes_a_dead_letter_and_the_next_one_is_processed(raw: bytes) -> None:
    task = Task(Counting, 0, Words())
    task.feed(topics.ticks, [message(0, "i", raw), message(1, "a", topics.ticks.encode(tick("a")))])

    outputs, _ = task.drain()
    letters = [topics.dead_letters.decode(o.value) for o in outputs if o.topic == "dead-letters"]
    assert values(task) == {"a": 1}
    assert [(str(letter.at), letter.size) for letter in letters] == [("ticks[0]@0", len(raw))]
    assert len(outputs[0].value) < 200_000


def test_record_when_the_processor_fails_on_it_is_buried_alone() -> None:
    task = fed("a", "boom", "b", "a")

    assert values(task) == {"a": 2, "b": 1}
    assert [p.offset for p in task.poison] == [1]
    assert task.poison[0].reason == "processor counting failed: RuntimeError: no way"


def test_record_when_rejected_by_the_processor_is_buried_with_its_reason() -> None:
    task = fed("a", "bad", "b")

    assert [(p.offset, p.reason) for p in task.poison] == [(1, "it is bad")]


def test_outputs_when_conflated_are_written_once_and_appended_ones_each() -> None:
    outputs, _ = fed("a", "a", "b", "a").drain()

    assert [o.key for o in outputs if o.topic == "ticks"] == [b"a", b"b"]
    assert [topics.telemetry.decode(o.value).value for o in outputs if o.key == b"a" and o.topic == "telemetry"] == [
        1.0,
        2.0,
        3.0,
    ]


def test_output_when_its_topic_is_not_declared_is_a_poison_record_not_a_stray_write() -> None:
    class Stray(Processor):
        name = "stray"
        reads = (topics.ticks,)
        writes = ()

        def on_batch(self, batch: Batch, out: Emitter) -> None:
            out.latest(topics.ticks, "a", batch.values[0])

    task = fed("a", processor=Stray)

    assert "not among" in task.poison[0].reason
    assert [o.topic for o in task.drain()[0]] == ["dead-letters", "journal"]


def test_urgency_when_an_urgent_topic_is_written_is_seen_until_the_commit() -> None:
    class Alarm(Processor):
        name = "alarm"
        reads = (topics.ticks,)
        writes = (topics.alerts,)

        def on_batch(self, batch: Batch, out: Emitter) -> None:
            out.latest(topics.alerts, "a", batch.values[0])

    task = fed("a", processor=Alarm)
    assert task.urgent
    task.drain()
    task.committed()
    assert not task.urgent
    assert not fed("a").urgent


def test_journal_when_committed_names_the_runs_in_processing_order() -> None:
    task = fed("a", "b")
    task.feed(topics.ticks, [message(7, "c", topics.ticks.encode(tick("c")))])
    journal = topics.journal.decode(task.drain()[0][-1].value)

    assert [(s.topic, s.first, s.last, s.count) for s in journal.segments] == [("ticks", 0, 1, 2), ("ticks", 7, 7, 1)]
    assert journal.commit == 1
    assert journal.outputs == 6


def test_journal_when_the_same_input_is_fed_again_has_the_same_hash_and_otherwise_another() -> None:
    def hashed(*keys: str) -> str:
        return topics.journal.decode(fed(*keys).drain()[0][-1].value).output_hash

    assert hashed("a", "b") == hashed("a", "b")
    assert hashed("a", "b") != hashed("b", "a")


def test_state_when_aborted_is_as_committed_and_the_offsets_too() -> None:
    task = fed("a")
    task.drain()
    task.committed()
    task.feed(topics.ticks, [message(1, "a", topics.ticks.encode(tick("a")))])
    task.drain()
    task.abort()

    assert values(task) == {"a": 1}
    assert task.offsets == task.committed_offsets == {"ticks": 1}
    assert not task.waiting
    assert task.commits == 1


def test_newest_only_when_declared_decodes_one_record_per_key() -> None:
    class Newest(Counting):
        newest_only = frozenset({topics.ticks})

    task = Task(Newest, 0, Words())
    first, last = topics.ticks.encode(tick("a", 1.0)), topics.ticks.encode(tick("a", 2.0))
    task.feed(topics.ticks, [message(0, "a", first), message(1, "a", b"never decoded"), message(2, "a", last)])

    assert values(task) == {"a": 1}
    assert not task.poison
    assert [topics.ticks.decode(o.value).bid for o in task.drain()[0] if o.topic == "ticks"] == [2.0]
    assert task.offsets["ticks"] == 3


class Waking(Processor):
    """Sets an event-time timer one second and a wall timer two seconds after each tick."""

    name = "waking"
    reads = (topics.ticks, topics.telemetry)
    writes = (topics.ticks,)
    woken = State(int)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for record in batch.values:
            if isinstance(record, Tick):
                self.timers.at_event(f"event-{record.instrument}", record.event_time + 1_000_000)
                self.timers.at_wall(f"wall-{record.instrument}", record.event_time + 2_000_000)

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        if key.endswith("boom"):
            raise RuntimeError("no way")
        self.woken.put(key, now)


def woken(task: Task) -> dict[str, int]:
    return dict(task.tables["woken"].items())


def sample(event_time: int) -> bytes:
    return topics.telemetry.encode(
        Telemetry(device="d", point="p", value=1.0, unit="1", sequence=1, event_time=event_time, receive_time=T)
    )


def test_event_timer_when_one_input_lags_waits_for_it_and_fires_once_it_is_idle() -> None:
    task = fed("a", processor=Waking)
    task.feed(topics.ticks, [message(1, "b", topics.ticks.encode(tick("b", event_time=T + 5_000_000)))])
    assert woken(task) == {}, "telemetry has not been seen: its past could still come"

    task.idle(topics.telemetry, T + 9_000_000)
    assert woken(task) == {"event-a": T + 5_000_000}


def test_event_timer_when_both_inputs_pass_fires_at_the_lesser_time() -> None:
    task = fed("a", processor=Waking)
    task.feed(topics.telemetry, [message(0, "d", sample(T + 3_000_000))])
    task.feed(topics.ticks, [message(1, "b", topics.ticks.encode(tick("b", event_time=T + 2_000_000)))])

    assert woken(task) == {"event-a": T + 2_000_000}


def test_wall_timer_when_due_fires_once_and_is_journalled_with_its_time() -> None:
    task = fed("a", processor=Waking)
    assert not task.tick(T + 1_999_999)
    assert task.tick(T + 2_000_000)
    assert not task.tick(T + 3_000_000)

    journal = topics.journal.decode(task.drain()[0][-1].value)
    assert woken(task) == {"wall-a": T + 2_000_000}
    assert (journal.segments[-1].topic, journal.segments[-1].time) == ("", T + 2_000_000)


def test_timers_when_restored_from_the_changelog_still_fire() -> None:
    task = fed("a", processor=Waking)
    changes = dict(task.drain()[1])
    again = Task(Waking, 0, Words())
    for key, value in changes.items():
        again.restore(key, value)
    again.restored()

    assert again.tick(T + 2_000_000)
    assert woken(again) == {"wall-a": T + 2_000_000}


def test_timer_when_its_decision_fails_stops_the_worker_and_says_why() -> None:
    with pytest.raises(Fatal, match=r"waking\[0\] failed on the wall-time timer of key 'wall-boom'.*no way"):
        fed("boom", processor=Waking).tick(T + 2_000_000)


def test_changelog_when_it_is_of_another_table_or_type_is_refused_by_name() -> None:
    task = Task(Counting, 0, Words())

    with pytest.raises(ValueError, match="table 'other' is not one of counting"):
        task.restore(b"other/a", b"1")
    with pytest.raises(ValueError, match="table 'counts' key 'a'"):
        task.restore(b"counts/a", b'"text"')
