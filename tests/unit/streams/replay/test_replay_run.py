"""A replay of any run comes out the same; what is not pure, or was changed, is named."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from schemas.control import KillSwitch
from schemas.gaps import Feed, Gap, GapReason
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams.replay.run import replay
from streams.replay.span import Mark, Span
from streams.vocabulary import MemoryDriver

T = 1_795_000_000_000_000
EVERYTHING = Span(Mark(commit=1))


def tick(instrument: str, sequence: int, time: int) -> Tick:
    return Tick(
        instrument=instrument, venue="v", bid=1.0, ask=1.0, sequence=sequence, event_time=time, receive_time=time
    )


class Recording(Processor):
    """Uses all that a processor may: tables, both clocks, both ways of writing, rejection, broadcast, failure."""

    name = "recording"
    reads = (topics.ticks, topics.gaps, topics.control)
    writes = (topics.telemetry, topics.observations)
    newest_only = frozenset({topics.gaps})
    counts = State(int)
    engaged = State(bool)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for i, record in enumerate(batch.values):
            if batch.topic is topics.control:
                self.engaged.put(record.scope, record.engaged)
                continue
            key = batch.key(i)
            if getattr(record, "sequence", 0) == 13:
                raise ValueError("unlucky")
            if getattr(record, "sequence", 0) == 12:
                batch.reject(i, "not this one")
                continue
            count = (self.counts.get(key) or 0) + 1
            self.counts.put(key, count)
            self.timers.at_event(key, record.event_time + 10)
            self.timers.at_wall(key, record.event_time + 10)
            self.say(out, key, "count", count, str(batch.at(i)))
            self.say(out, key, "engaged", int(bool(self.engaged.get("all"))), f"e-{batch.at(i)}")

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        self.say(out, key, "silent", now - T, f"{key}-{now}")

    def say(self, out: Emitter, key: str, point: str, value: int, event_id: str) -> None:
        record = Telemetry(
            device=key, point=point, value=float(value), unit="1", sequence=0, event_time=T, receive_time=T
        )
        if point == "engaged":
            out.latest(topics.telemetry, key, record)
        else:
            out.append(topics.telemetry, key, record, event_id=event_id)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from("abc"), st.integers(0, 15)),
        st.tuples(st.just("gap"), st.sampled_from("abc"), st.integers(0, 30)),
        st.tuples(st.just("bad"), st.sampled_from("abc"), st.just(0)),
        st.tuples(st.just("switch"), st.just(""), st.integers(0, 1)),
        st.tuples(st.just("run"), st.just(""), st.just(0)),
        st.tuples(st.just("idle"), st.just(""), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 30)),
        st.tuples(st.just("crash"), st.just(""), st.just(0)),
    ),
    max_size=30,
)


def played(steps: list[tuple[str, str, int]], partitions: int, processor: type[Processor] = Recording) -> MemoryDriver:
    driver = MemoryDriver([processor], partitions=partitions)
    now = driver.now = T
    for number, (what, key, value) in enumerate(steps):
        if what == "tick":
            driver.publish(topics.ticks, key, tick(key, value, now + value))
        elif what == "gap":
            times = {"event_time": now + value, "receive_time": now}
            gap = Gap(gap_id=f"g{number}", feed=Feed.TICKS, key=key, reason=GapReason.SILENCE, open=True, **times)
            driver.publish(topics.gaps, key, gap)
        elif what == "bad":
            driver.publish(topics.ticks, key, value=b"{")
        elif what == "switch":
            named = {"scope": "all", "version": number, "engaged": bool(value), "reason": "", "actor": "x"}
            driver.publish(topics.control, "all", KillSwitch(**named, event_time=now, receive_time=now))
        elif what == "run":
            driver.run()
        elif what == "crash":
            driver.crash()
        elif what == "idle":
            for task in driver.tasks:
                task.idle(topics.gaps, now)
        else:
            now += value
            driver.advance(now)
    driver.run()
    return driver


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([1, 3]))
def test_replay_when_run_was_any_gives_the_same_outputs(memory_store, steps, partitions):
    driver = played(steps, partitions)
    for partition in range(partitions):
        outcome = replay(memory_store(driver), Recording, partition, EVERYTHING, T)
        assert outcome.equal, outcome
        journal = [r for r in driver.records(topics.journal) if r.partition == partition]
        assert outcome.commits == len(journal)
        assert outcome.outputs == sum(r.outputs for r in journal)
        assert outcome.records == sum(s.count for r in journal for s in r.segments)


@settings(max_examples=30, deadline=None)
@given(STEPS, st.integers(1, 5), st.integers(0, 5))
def test_replay_when_span_begins_later_rebuilds_the_state_first(memory_store, steps, first, more):
    driver = played(steps, 1)
    span = Span(Mark(commit=first), Mark(commit=first + more))
    outcome = replay(memory_store(driver), Recording, 0, span, T)
    commits = [r.commit for r in driver.records(topics.journal) if first <= r.commit <= first + more]
    assert outcome.equal, outcome
    assert outcome.commits == len(commits)
    assert (outcome.first, outcome.last) == ((commits[0], commits[-1]) if commits else (0, 0))


SOME: Any = [("tick", "a", 1), ("run", "", 0), ("tick", "a", 2), ("tick", "b", 3), ("run", "", 0), ("wait", "", 30)]


def test_replay_when_processor_is_not_pure_names_the_first_difference(memory_store):
    clock = itertools.count()

    class Impure(Recording):
        def say(self, out: Emitter, key: str, point: str, value: int, event_id: str) -> None:
            super().say(out, key, point, next(clock) if key == "b" else value, event_id)

    outcome = replay(memory_store(played(SOME, 1, Impure)), Impure, 0, EVERYTHING, T)
    found = outcome.difference
    assert found is not None
    assert (found.commit, found.topic, found.key, found.what) == (2, "telemetry", "b", "the record differs")
    assert found.at.startswith("telemetry[0]@")
    assert [path for path, _, _ in found.fields] == ["value"]
    assert outcome.commits == 2, "it stops there"


def test_replay_when_an_input_was_tampered_with_names_the_first_difference(memory_store):
    driver = played(SOME, 1)
    message = driver.log["ticks", 0][0]
    changed = topics.ticks.encode(tick("a", 12, T + 1))
    driver.log["ticks", 0][0] = type(message)(message.key(), changed, 0, T)
    found = replay(memory_store(driver), Recording, 0, EVERYTHING, T).difference
    assert found is not None
    assert found.commit == 1
    assert found.topic == "dead-letters"
    assert found.what == "made again, but not what was committed"


def test_replay_when_an_output_is_not_made_again_names_it(memory_store):
    class Silent(Recording):
        def say(self, out: Emitter, key: str, point: str, value: int, event_id: str) -> None:
            if key != "b" or point != "count":
                super().say(out, key, point, value, event_id)

    found = replay(memory_store(played(SOME, 1)), Silent, 0, EVERYTHING, T).difference
    assert found is not None
    assert (found.commit, found.topic, found.key) == (2, "telemetry", "b")
    assert '"point":"count"' in (found.committed or "")
    assert found.what.startswith("4 records were committed, 3 are made again")


def test_replay_when_order_of_outputs_differs_says_so(memory_store):
    class Plain(Recording):
        def say(self, out: Emitter, key: str, point: str, value: int, event_id: str) -> None:
            if point != "engaged":
                super().say(out, key, point, value, event_id)

    class Turned(Plain):
        def on_batch(self, batch: Batch, out: Emitter) -> None:
            for i in reversed(range(len(batch.values))):
                super().on_batch(batch.one(i), out)  # type: ignore[attr-defined]

    found = replay(memory_store(played(SOME, 1, Plain)), Turned, 0, EVERYTHING, T).difference
    assert found is not None
    assert (found.commit, found.what) == (2, "the same records, in another order than they were committed")


def test_replay_when_timers_no_longer_fire_says_so(memory_store):
    class Hasty(Recording):
        def on_time(self, key: str, now: int, out: Emitter) -> None:
            pass

    class Timeless(Hasty):
        def on_batch(self, batch: Batch, out: Emitter) -> None:
            super().on_batch(batch, out)
            for key in "ab":
                self.timers.cancel(key)

    found = replay(memory_store(played(SOME, 1, Hasty)), Timeless, 0, EVERYTHING, T).difference
    assert found is not None
    assert found.what.startswith("the outputs are the same, but this did not happen again: timers fired at")


def test_replay_when_a_timer_fails_now_says_why(memory_store):
    class Failing(Recording):
        def on_time(self, key: str, now: int, out: Emitter) -> None:
            raise ArithmeticError("no")

    found = replay(memory_store(played(SOME, 1)), Failing, 0, EVERYTHING, T).difference
    assert found is not None
    assert "wall-time timer of key 'a'" in found.what


def test_replay_when_inputs_expired_says_which(memory_store):
    store = memory_store(played(SOME, 1))
    store.lost["ticks"] = 1
    outcome = replay(store, Recording, 0, EVERYTHING, T)
    assert not outcome.equal
    assert outcome.gone == "ticks[0] was read from offset 0: expired"


def test_replay_when_state_before_the_span_is_gone_says_why(memory_store):
    store = memory_store(played(SOME, 1))
    store.lost["ticks"] = 1
    outcome = replay(store, Recording, 0, Span(Mark(commit=2)), T)
    assert "tells only the newest state; and ticks[0] was read from offset 0: expired" in outcome.gone


def test_replay_when_the_journal_has_a_hole_says_where(memory_store):
    driver = played(SOME, 1)
    journal = driver.log["journal", 0]
    del journal[1]
    outcome = replay(memory_store(driver), Recording, 0, EVERYTHING, T)
    assert outcome.gone.startswith("the journal has no commit 2; 3 follows at journal[0]@")
