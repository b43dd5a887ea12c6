"""Replaying a day on a real Kafka."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import threading
import time

import pytest
from confluent_kafka import TopicPartition
from rich.console import Console

from processors.limits import Limits
from processors.processor import Processor, State
from schemas import topics
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from streams import pipeline
from streams.commands.errors import CommandError
from streams.commands.replay import as_json, chosen, show, span_of, verify
from streams.engine import layout
from streams.engine.layout import TopicSpec, changelog_of
from streams.engine.partitions import partition_of
from streams.engine.reset import Reset, Start
from streams.engine.supervisor import run_workers
from streams.engine.worker import Worker
from streams.replay.span import Span
from streams.vocabulary import Words
from tests.integration.commands.conftest import PARTITIONS
from tests.topic import expire


def shown(outcomes) -> tuple[str, bool]:
    out = io.StringIO()
    equal = show(outcomes, Console(file=out, width=160, no_color=True))
    return out.getvalue(), equal


def test_replay_when_nothing_was_changed_makes_every_commit_of_the_day_again(day):
    outcomes = list(verify(day.cluster, pipeline.PROCESSORS, Span()))
    assert [o for o in outcomes if not o.equal or o.note] == []
    assert len(outcomes) == PARTITIONS * len(pipeline.PROCESSORS)
    assert all(o.first == 1 for o in outcomes)
    assert sum(o.outputs for o in outcomes) > 20
    text, equal = shown(iter(outcomes))
    assert equal
    assert "every one came out the same" in text


def test_replay_when_span_begins_in_the_middle_takes_the_state_from_the_changelog(day):
    whole = next(o for o in verify(day.cluster, [Limits], Span()) if o.outputs)
    middle = whole.last // 2 + 1
    span = span_of(str(middle), str(whole.last))
    outcome = next(verify(day.cluster, [Limits], span, whole.partition))
    assert outcome.equal, outcome
    assert not outcome.note
    assert (outcome.first, outcome.last) == (middle, whole.last)


def test_replay_when_the_processor_decides_otherwise_shows_the_first_record_that_differs(day):
    class Louder(Limits):
        def _alert(self, placed, limit, change, used, by, times, out):
            super()._alert(placed, limit, change, used and used + 1e6, by, times, out)

    outcomes = list(verify(day.cluster, [Louder], Span()))
    found = next(o.difference for o in outcomes if o.difference is not None)
    assert found.topic == "alerts"
    assert [path for path, _, _ in found.fields] == ["message"]
    committed = next(e for e in day.records([topics.alerts]) if e.record.alert_id == day.ids["breach"])
    assert found.at == f"{committed.at.topic}[{committed.at.partition}]@{committed.at.offset}"
    text, equal = shown(iter(outcomes))
    assert not equal
    assert f"limits[{found.partition}] commit {found.commit}" in text
    told = json.loads(as_json(iter(outcomes))[0])
    assert not told["equal"]
    assert any(task["difference"] and task["difference"]["key"] == "oil-desk" for task in told["tasks"])


class Counting(Processor):
    """Counts ticks per instrument."""

    name = "counting"
    reads = (topics.ticks,)
    writes = (topics.telemetry,)
    counts = State(int)

    def on_batch(self, batch, out):
        for i, tick in enumerate(batch.values):
            n = (self.counts.get(tick.instrument) or 0) + 1
            self.counts.put(tick.instrument, n)
            self.say(out, tick, self.value(n), str(batch.at(i)))

    def value(self, n):
        return float(n)

    def say(self, out, tick, value, event_id):
        times = {"event_time": tick.event_time, "receive_time": tick.receive_time}
        record = Telemetry(device=tick.instrument, point="count", value=value, unit="1", sequence=0, **times)
        out.append(topics.telemetry, tick.instrument, record, event_id=event_id)


class Clocked(Counting):
    """Looks at the clock, which a processor must not."""

    def value(self, n):
        return time.time() if n == 3 else float(n)


def counted(cluster, processor, ticks, begin=0):
    """Run a processor on ticks of one instrument until each is counted, in several commits; return its partition.

    ``begin``: offset from which its outputs are new.
    """
    layout.ensure(cluster, [TopicSpec(changelog_of(processor.name), 4, {"cleanup.policy": "compact"})])
    producer, now, stop = cluster.publisher(), time.time_ns() // 1000, threading.Event()
    place = partition_of("WTI", 4)
    reader = cluster.reader("counted")
    reader.assign([TopicPartition(cluster.named("telemetry"), place, begin)])
    worker = Worker(cluster, processor, Words(), partitions=4)
    thread = threading.Thread(
        target=run_workers, args=([worker], stop), kwargs={"stall_limit": math.inf}, name="counting", daemon=True
    )
    thread.start()
    try:
        for n in range(ticks):
            times = {"event_time": now + n, "receive_time": now + n}
            tick = Tick(instrument="WTI", venue="v", bid=1.0, ask=1.0, sequence=n, **times)
            producer.produce(cluster.named("ticks"), topics.ticks.encode(tick), b"WTI", place)
            assert producer.flush(10) == 0
            assert reader.consume(1, 30), "not counted"
    finally:
        stop.set()
        thread.join(30)
        reader.close()
    return place


def test_replay_when_processor_looks_at_the_clock_names_commit_and_field(cluster):
    place = counted(cluster, Clocked, 5)
    outcome = next(verify(cluster, [Clocked], Span(), place))
    found = outcome.difference
    assert (found.commit, found.topic, found.key) == (3, "telemetry", "WTI")
    assert [path for path, _, _ in found.fields] == ["value"]
    assert found.at == f"{cluster.named('telemetry')}[{place}]@4"  # each commit has a marker after its record
    assert outcome.commits == 3


def test_replay_when_inputs_are_deleted_says_so_and_goes_on_from_the_changelog(cluster):
    place = counted(cluster, Counting, 5)
    assert next(verify(cluster, [Counting], Span(), place)).equal
    name = cluster.named("ticks")
    expire(cluster.admin(), name, place, 3)
    outcome = next(verify(cluster, [Counting], Span(), place))
    assert outcome.gone == f"{name}[{place}] was read from offset 0, but now holds 3 to 5: expired"
    outcome = next(verify(cluster, [Counting], span_of("4", None), place))
    assert outcome.equal, outcome
    assert (outcome.first, outcome.commits) == (4, 2)


def test_replay_when_application_was_reset_makes_both_lives_again(cluster):
    place = counted(cluster, Counting, 5)
    specs = [TopicSpec(t.name, 4) for t in (topics.ticks, topics.telemetry, topics.journal)]
    specs.append(TopicSpec(changelog_of(Counting.name), 4, {"cleanup.policy": "compact"}))
    reset = Reset(cluster, Counting, specs, Words(), 4)
    reset.carry_out(reset.plan(Start.END))
    counted(cluster, Counting, 3, begin=10)  # each commit has a marker after its record
    outcome = next(verify(cluster, [Counting], Span(), place))
    assert outcome.equal, outcome
    assert (outcome.first, outcome.last, outcome.commits) == (1, 9, 9)  # the sixth is the reset
    outcome = next(verify(cluster, [Counting], span_of("8", None), place))
    assert outcome.equal, outcome
    assert (outcome.first, outcome.commits) == (8, 2)


def test_replay_when_application_is_unknown_names_those_there_are(day):
    with pytest.raises(CommandError, match="no application nothing; there are positions, limits"):
        chosen(["nothing"])
    with pytest.raises(CommandError, match="there is no partition 7; positions has 2"):
        next(verify(day.cluster, [Limits], Span(), 7))
    with pytest.raises(CommandError, match="neither a commit number nor a time"):
        span_of("yesterday", None)


def test_command_when_called_tells_by_its_exit_status(day):
    """In a process of its own, as people call it."""
    environment = {**os.environ, "GRIDTAPE_KAFKA": day.cluster.bootstrap, "GRIDTAPE_TOPIC_PREFIX": day.cluster.prefix}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streams.cli", "replay", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    done = call("limits", "--json", "--to", "2")
    told = json.loads(done.stdout)
    assert (done.returncode, told["equal"]) == (0, True)
    assert {task["application"] for task in told["tasks"]} == {"limits"}
    assert {task["last"] for task in told["tasks"]} <= {1, 2}
    refused = call("--from", "noon")
    assert refused.returncode == 1
    assert "error: 'noon' is neither a commit number nor a time" in refused.stderr
