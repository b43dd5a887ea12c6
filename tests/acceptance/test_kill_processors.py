"""kill -9 of the processor process in the middle of everything: fills, positions and realised P&L still agree."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from schemas import topics
from schemas.base import Side
from schemas.fills import Fill
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from schemas.topics import Topic
from streams import control
from streams.engine.cluster import Cluster
from streams.engine.restore import bounds
from tests.oracle import realised

PARTITIONS = 4
KILLS = 5
SCENARIO = """
[[instruments]]
instrument = "GAS"
name = "gas"
currency = "USD"
unit = "MW.h"
lot_size = "10"
max_order_quantity = "50"
venue = "REPLAY"

[[instruments]]
instrument = "OIL"
name = "oil"
currency = "USD"
unit = "[bbl_us]"
lot_size = "10"
max_order_quantity = "1000"
venue = "REPLAY"

[[limits]]
limit_id = "desk-gross"
book = "desk"
measure = "gross"
currency = "USD"
soft = 1000.0
hard = 1e12

[[rules]]
rule_id = "low-output"
name = "output is low"

[[rules.conditions]]
operand = { source = "telemetry", device = "plant", point = "output" }
comparison = "below"
threshold = 50.0

[rules.action]
book = "auto"
instrument = "GAS"
side = "buy"
quantity = "20"
collar = 5.0

[[rules]]
rule_id = "too-much"
name = "output is high, and the order is larger than one may be"

[[rules.conditions]]
operand = { source = "telemetry", device = "plant", point = "output" }
comparison = "above"
threshold = 150.0

[rules.action]
book = "auto"
instrument = "GAS"
side = "sell"
quantity = "60"
collar = 5.0
"""


def now() -> int:
    return time.time_ns() // 1000


class Feeder(threading.Thread):
    """Ticks, fills of another system and telemetry that swings, seeded, until told to stop."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self.stop = threading.Event()

    def run(self) -> None:
        rng = random.Random(11)
        producer = self._cluster.publisher(topics.ticks.name)
        n = 0
        while not self.stop.wait(0.01):
            n += 1
            at = now()
            for name, base in (("GAS", 40.0), ("OIL", 80.0)):
                price = round(base + rng.gauss(0, 0.2), 2)
                self._send(
                    producer,
                    topics.ticks,
                    name,
                    Tick(
                        instrument=name,
                        venue="REPLAY",
                        bid=price - 0.01,
                        ask=price + 0.01,
                        sequence=n,
                        event_time=at,
                        receive_time=at,
                    ),
                )
            if n % 3 == 0:
                name = rng.choice(("GAS", "OIL"))
                fill = Fill(
                    fill_id=f"other-{n}",
                    order_id=f"other-{n}",
                    book=rng.choice(("desk", "prop")),
                    instrument=name,
                    side=rng.choice((Side.BUY, Side.SELL)),
                    quantity=Decimal(rng.randrange(1, 40)),
                    price=Decimal(rng.randrange(3000, 9000)) / 100,
                    fee=Decimal("0.13"),
                    currency="USD",
                    venue="OTHER",
                    event_time=at,
                    receive_time=at,
                )
                self._send(producer, topics.fills, name, fill)
                if n % 9 == 0:  # a repeat, as an at-least-once sender makes it
                    self._send(producer, topics.fills, name, fill)
            if n % 20 == 0:
                value = (30.0, 100.0, 170.0, 100.0)[n // 20 % 4]
                sample = Telemetry(
                    device="plant", point="output", value=value, unit="MW", sequence=n, event_time=at, receive_time=at
                )
                self._send(producer, topics.telemetry, "plant", sample)
            producer.poll(0)
        producer.flush()

    def _send(self, producer: Any, topic: Topic[Any], key: str, record: Any) -> None:
        producer.produce(self._cluster.named(topic.name), topic.encode(record), key)


class Pipeline:
    """The processes of the pipeline as an operator would start them."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "GRIDTAPE_KAFKA": cluster.bootstrap,
            "GRIDTAPE_TOPIC_PREFIX": cluster.prefix,
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *arguments: str) -> None:
        with (self._folder / f"{arguments[0]}.log").open("ab") as log:
            self.running[arguments[0]] = subprocess.Popen(
                [sys.executable, "-m", "streams.cli", "run", *arguments], env=self._environment, stderr=log, stdout=log
            )

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        assert self.running.pop(name).wait(10) == -signal.SIGKILL

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            assert process.wait(20) == 0


@pytest.fixture
def pipeline(cluster: Cluster, tmp_path: Path) -> Iterator[Pipeline]:
    processes = Pipeline(cluster, tmp_path)
    yield processes
    for process in processes.running.values():
        process.kill()
        process.wait()


def committed(cluster: Cluster, topic: Topic[Any]) -> list[tuple[str, Any]]:
    """Key and record of everything that a read_committed reader sees, partition by partition."""
    reader = cluster.reader("verify", enable_partition_eof=True)
    name = cluster.named(topic.name)
    ends = bounds(cluster, [(name, p) for p in range(PARTITIONS)], 20)
    reader.assign([TopicPartition(name, p, low) for (name, p), (low, _) in ends.items()])
    found: dict[int, list[tuple[str, Any]]] = defaultdict(list)
    done: set[int] = set()
    deadline = time.monotonic() + 30
    while len(done) < PARTITIONS:
        assert time.monotonic() < deadline, f"{name} could not be read to its end: an open transaction?"
        for message in reader.consume(1000, 0.2):
            if message.error():
                done.add(message.partition() or 0)
            else:
                record = topic.decode(message.value() or b"")
                found[message.partition() or 0].append(((message.key() or b"").decode(), record))
    reader.close()
    return [item for partition in sorted(found) for item in found[partition]]


@pytest.mark.timeout(180)
def test_processors_when_killed_five_times_leave_fills_positions_and_pnl_in_agreement(
    cluster: Cluster, pipeline: Pipeline, tmp_path: Path
) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(SCENARIO)
    control.publish(cluster, control.read_file(scenario, now()), PARTITIONS)
    pipeline.start("sinks", "venue")
    pipeline.start("processors")
    feeder = Feeder(cluster)
    feeder.start()
    rng = random.Random(5)
    for _ in range(KILLS):
        before = len(committed(cluster, topics.journal))
        deadline = time.monotonic() + 40
        while len(committed(cluster, topics.journal)) <= before:  # it has come up and committed something new
            assert time.monotonic() < deadline, (tmp_path / "processors.log").read_text()[-3000:]
            time.sleep(0.1)
        time.sleep(rng.random())  # a seeded moment somewhere between two commits
        pipeline.kill("processors")
        pipeline.start("processors")
    wait_until_filled(cluster)
    feeder.stop.set()
    feeder.join(20)
    wait_until_quiet(cluster)
    pipeline.stop()

    verify_books(cluster)
    verify_decisions(cluster)


def wait_until_filled(cluster: Cluster) -> None:
    """Until an order of the pipeline was filled: while it comes up again and again, orders may expire on their way."""
    deadline = time.monotonic() + 60
    while not any(fill.venue == "REPLAY" for _, fill in committed(cluster, topics.fills)):
        assert time.monotonic() < deadline, "no order of the pipeline was filled within 60 s of calm"
        time.sleep(0.5)


def wait_until_quiet(cluster: Cluster) -> None:
    """Until the last fill has been booked and nobody writes any more."""
    deadline = time.monotonic() + 60
    seen: tuple[int, ...] = ()
    steady = time.monotonic()
    while time.monotonic() - steady < 7:  # longer than an order lives, so that none is still to be filled
        assert time.monotonic() < deadline
        places = [(cluster.named(t.name), p) for t in topics.ALL for p in range(PARTITIONS)]
        ends = tuple(high for _, high in bounds(cluster, places, 20).values())
        if ends != seen:
            seen, steady = ends, time.monotonic()
        time.sleep(0.5)


def verify_books(cluster: Cluster) -> None:
    fills: dict[str, Fill] = {}
    for _, fill in committed(cluster, topics.fills):
        fills.setdefault(fill.fill_id, fill)
    by_position: dict[str, list[Fill]] = defaultdict(list)
    for fill in fills.values():
        by_position[f"{fill.book}|{fill.instrument}"].append(fill)
    positions = dict(committed(cluster, topics.positions))

    assert len(fills) > 100
    assert any(fill.venue == "REPLAY" for fill in fills.values()), "no order of the pipeline was filled"
    assert positions.keys() == by_position.keys()
    for key, booked in by_position.items():
        quantity, profit = realised(booked)
        position = positions[key]
        assert position.quantity == quantity, key
        assert position.fills == len(booked), key
        assert position.fees == sum(fill.fee for fill in booked), key
        assert abs(Fraction(position.realised_pnl) - profit) < Fraction(1, 10**6), key


def verify_decisions(cluster: Cluster) -> None:
    alerts = [alert.alert_id for _, alert in committed(cluster, topics.alerts)]
    intents = [intent.intent_id for _, intent in committed(cluster, topics.intents)]
    orders = [order for _, order in committed(cluster, topics.orders)]
    rejections = [rejection.intent_id for _, rejection in committed(cluster, topics.rejections)]
    filled = Counter(f.order_id for _, f in committed(cluster, topics.fills) if f.venue == "REPLAY")

    assert alerts
    assert orders
    assert rejections
    assert len(set(alerts)) == len(alerts), "an alert was written twice"
    assert len(set(intents)) == len(intents), "an intent was written twice"
    answered = Counter([order.intent_id for order in orders] + rejections)
    assert answered == Counter(intents), "each intent has exactly one answer"
    assert filled.keys() <= {order.order_id for order in orders}
    assert max(filled.values(), default=0) == 1, "an order was filled twice"
    commits: dict[str, list[int]] = defaultdict(list)
    for key, entry in committed(cluster, topics.journal):
        commits[key].append(entry.commit)
    for key, numbers in commits.items():
        assert numbers == list(range(1, len(numbers) + 1)), f"{key}: a commit is missing or doubled"
