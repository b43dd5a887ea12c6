from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from confluent_kafka import TopicPartition

from schemas import topics
from sinks import metrics
from sinks.runner import run_sink
from sinks.sink import Delivery, Disabled, Refused, Unavailable


class Recorder:
    """Keeps what it is given; fails as the test says."""

    topics = (topics.alerts,)
    batch_seconds = 0.0

    def __init__(self, name: str = "recorder", *, rows: int = 100, attempts: int | None = None) -> None:
        self.name = name
        self.batch_rows = rows
        self.attempts = attempts
        self.got: list[str] = []
        self.deliveries: list[Delivery] = []
        self.script: list[Any] = []

    def handle(self, batch: list[Delivery], stop: threading.Event) -> None:
        for done, delivery in enumerate(batch):
            step = self.script.pop(0) if self.script else None
            if step == "away":
                raise Unavailable("away", done=done)
            if step == "refuse":
                raise Refused("not wanted", delivery, done=done)
            if step == "gone":
                raise Disabled("410", done=done)
            if step == "crash":
                raise RuntimeError("a bug in the sink")
            self.got.append(delivery.record.title)
            self.deliveries.append(delivery)


def titles(*numbers: int) -> list[str]:
    return [f"alert {number}" for number in numbers]


def counted(metric: Any, *labels: str) -> float:
    return metric.labels(*labels)._value.get()


def test_runner_when_records_come_delivers_them_in_order_with_key_headers_and_coordinates(bench, until, make_alert):
    sink = Recorder()
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(300)))
    with bench.running(sink):
        until(lambda: len(sink.got) == 300)
    assert sink.got == titles(*range(300))
    first = sink.deliveries[0]
    assert (first.key, first.event_id, first.at.topic) == ("oil", "oil/ticks/0/0", bench.cluster.named("alerts"))
    assert first.headers["ce_type"] == "gridtape.alert.v1"
    assert (topics.alerts.decode(first.raw), [d.at.offset for d in sink.deliveries]) == (
        make_alert(0),
        list(range(300)),
    )


def test_runner_when_restarted_goes_on_behind_what_was_delivered(bench, until, make_alert):
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(5)))
    with bench.running(first := Recorder()):
        until(lambda: len(first.got) == 5)
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(5, 8)))
    with bench.running(second := Recorder()):
        until(lambda: len(second.got) >= 3)
    assert second.got == titles(5, 6, 7)


def test_runner_when_destination_is_away_tries_again_in_order(bench, until, make_alert):
    sink = Recorder()
    sink.script = [None, "away", "away", "away", None, "away"]
    before = counted(metrics.RETRIES, "recorder")
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(10)))
    with bench.running(sink):
        until(lambda: len(sink.got) >= 10)
    assert sink.got == titles(*range(10))
    assert counted(metrics.RETRIES, "recorder") - before == 4


def test_runner_when_stopped_while_destination_is_away_delivers_everything_later(bench, until, make_alert):
    sink = Recorder()
    sink.script = [None, None] + ["away"] * 100_000
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(4)))
    with bench.running(sink):
        until(lambda: len(sink.got) == 2 and len(sink.script) < 99_998)
    with bench.running(later := Recorder()):
        until(lambda: len(later.got) >= 2)
    assert sink.got + later.got == titles(0, 1, 2, 3)


def test_runner_when_a_record_is_refused_makes_a_dead_letter_and_goes_on(bench, until, make_alert):
    sink = Recorder()
    sink.script = [None, "refuse"]
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(4)))
    with bench.running(sink):
        until(lambda: len(sink.got) == 3)
    assert sink.got == titles(0, 2, 3)
    (letter,) = bench.letters(1)
    assert (letter.application, letter.reason, letter.key) == ("recorder", "not wanted", "oil")
    assert (letter.at.offset, letter.raw) == (1, topics.alerts.encode(make_alert(1)))


def test_runner_when_attempts_are_used_up_makes_a_dead_letter_and_the_next_has_all_its_own(bench, until, make_alert):
    sink = Recorder(attempts=3)
    sink.script = ["away"] * 3 + ["away"] * 2
    bench.write(topics.alerts, "oil", make_alert(0), make_alert(1))
    with bench.running(sink):
        until(lambda: len(sink.got) == 1)
    assert sink.got == titles(1)
    (letter,) = bench.letters(1)
    assert letter.reason == "3 attempts failed; the last one: away"


def test_runner_when_records_cannot_be_read_buries_each_and_delivers_the_others(bench, until, make_alert):
    sink = Recorder()
    half, wide = b"{", b"x" * 500_000
    poison = [b"", half, b"\xff\xfe", b"[]", b'{"alert_id":1}', b"null", b'{"event_time":' + b"9" * 5000 + b"}", wide]
    for number, raw in enumerate(poison):
        bench.write(topics.alerts, "oil", make_alert(number), raw)
    bench.write(topics.alerts, "oil", make_alert(len(poison)))
    with bench.running(sink):
        until(lambda: len(sink.got) == len(poison) + 1)
    assert sink.got == titles(*range(len(poison) + 1))
    letters = bench.letters(len(poison))
    assert [(one.at.offset, one.size, one.raw) for one in letters] == [
        (2 * number + 1, len(raw), raw[:65_536]) for number, raw in enumerate(poison)
    ]
    assert all(one.reason.startswith("no valid alert: ") for one in letters)


def test_runner_when_destination_wants_nothing_more_ends_and_leaves_the_rest(bench, until, make_alert):
    sink = Recorder("gone")
    sink.script = [None, "gone"]
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(3)))
    run_sink(bench.cluster, sink, threading.Event())
    assert counted(metrics.UP, "gone") == 0
    with bench.running(later := Recorder("gone")):
        until(lambda: len(later.got) == 2)
    assert sink.got + later.got == titles(0, 1, 2)


def test_runner_when_one_sink_crashes_restarts_it_and_the_others_do_not_notice(bench, until, make_alert):
    bad, good = Recorder("bad"), Recorder("good")
    bad.script = ["crash"]
    before = counted(metrics.RESTARTS, "bad")
    bench.write(topics.alerts, "oil", make_alert(0), make_alert(1))
    with bench.running(bad, good):
        until(lambda: len(bad.got) == 2 and len(good.got) == 2)
    assert bad.got == good.got == titles(0, 1)
    assert counted(metrics.RESTARTS, "bad") - before == 1


def test_runner_when_a_second_one_joins_each_record_is_delivered_by_one_of_them(bench, until, make_alert):
    # The group learns of a new member with a heartbeat: every 3 s by default.
    bench.cluster = replace(bench.cluster, security={"heartbeat.interval.ms": 200})
    keys = [f"book{i}" for i in range(16)]
    first, second = Recorder("pair"), Recorder("pair")

    def write(numbers: range) -> None:
        for number in numbers:
            bench.write(topics.alerts, keys[number % 16], make_alert(number))

    write(range(32))
    with bench.running(first):
        until(lambda: len(first.got) == 32)
        with bench.running(second):
            seen = 32
            while not second.got:
                write(range(seen, seen + 16))
                seen += 16
                until(lambda total=seen: len(first.got) + len(second.got) >= total)
        write(range(seen, seen + 16))
        until(lambda: len(first.got) + len(second.got) >= seen + 16)
    assert sorted(first.got + second.got) == sorted(titles(*range(seen + 16)))


def test_runner_when_it_has_caught_up_shows_no_lag_and_commits_to_the_end(bench, until, make_alert):
    sink = Recorder("lag")
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(20)))
    with bench.running(sink):
        until(lambda: len(sink.got) == 20)
        partition = sink.deliveries[0].at.partition
        until(lambda: counted(metrics.LAG, "lag", "alerts", str(partition)) == 0)
    consumer = bench.cluster.reader("sink-lag")
    (committed,) = consumer.committed([TopicPartition(bench.cluster.named("alerts"), partition)], 10)
    consumer.close()
    assert committed.offset == 20
