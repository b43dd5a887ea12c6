from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal

from confluent_kafka import TopicPartition

from schemas import topics
from schemas.base import Side
from schemas.evidence import Evidence
from schemas.orders import Order
from schemas.ticks import Tick
from sinks import metrics
from sinks.config import VenueConfig
from sinks.trades import Progress, Venue


def micros() -> int:
    return time.time_ns() // 1000


def tick(bid: float = -36.99, ask: float = -36.97, instrument: str = "WTI") -> Tick:
    return Tick(
        instrument=instrument, venue="REPLAY", bid=bid, ask=ask, sequence=1, event_time=micros(), receive_time=micros()
    )


def order(number: int, *, limit: float = 100.0, lives: float = 30.0, venue: str = "REPLAY", instrument: str = "WTI"):
    return Order(
        order_id=f"o{number}",
        intent_id=f"i{number}",
        book="oil",
        instrument=instrument,
        side=Side.BUY,
        quantity=Decimal("2"),
        limit_price=limit,
        currency="USD",
        venue=venue,
        checks=[],
        evidence=Evidence(decided_by="rule:r", version=1, inputs=[]),
        expire_time=micros() + int(lives * 1e6),
        event_time=micros(),
        receive_time=micros(),
    )


def outcome(name: str) -> float:
    return metrics.ORDERS.labels("REPLAY", name)._value.get()


def committed(bench) -> dict[int, tuple[int, str | None]]:
    consumer = bench.cluster.reader("sink-venue")
    name = bench.cluster.named("orders")
    found = consumer.committed([TopicPartition(name, p) for p in range(4)], 10)
    consumer.close()
    return {one.partition: (one.offset, one.metadata) for one in found}


def quoting(bench, until, holds, **quote):
    """Send a fresh tick again and again until ``holds``: the venue reads ticks only from when it started."""

    def check():
        bench.write(topics.ticks, quote.get("instrument", "WTI"), tick(**quote))
        return holds()

    until(check)


def test_venue_when_orders_come_fills_at_the_ask_refuses_nonsense_and_lets_the_rest_expire(bench, until):
    before = {name: outcome(name) for name in ("filled", "expired", "foreign", "refused")}
    broken = topics.orders.encode(order(5)).replace(b'"quantity":"2"', b'"quantity":"NaN"')
    bench.write(
        topics.orders, "WTI", order(1), order(2, limit=-50, lives=1), order(3, venue="ICE"), b"{", broken, order(4)
    )

    def ended() -> bool:
        now = {name: outcome(name) - before[name] for name in before}
        return now == {"filled": 2, "expired": 1, "foreign": 1, "refused": 2}

    with bench.running(Venue(VenueConfig())):
        quoting(bench, until, ended)
    fills = bench.read(topics.fills, 2)
    assert [(f.fill_id, f.price, f.quantity, f.fee) for f in fills] == [
        ("o1/fill", Decimal("-36.97"), Decimal("2"), Decimal("0.04")),
        ("o4/fill", Decimal("-36.97"), Decimal("2"), Decimal("0.04")),
    ]
    letters = bench.letters(2)
    assert {one.at.offset for one in letters} == {3, 4}
    assert {one.application for one in letters} == {"venue"}


def test_venue_when_restarted_fills_no_order_twice_though_an_earlier_one_still_waits(bench, until):
    filled = outcome("filled")
    bench.write(topics.orders, "WTI", order(1, limit=-50), order(2), order(3, limit=-50), order(4))
    with bench.running(Venue(VenueConfig())):
        quoting(bench, until, lambda: outcome("filled") == filled + 2)
    ((low, metadata),) = [one for one in committed(bench).values() if one[0] >= 0 and one[1] != "0:"]
    assert (low, Progress.resumed(low, metadata).again) == (0, {0, 2})
    with bench.running(Venue(VenueConfig())):
        quoting(bench, until, lambda: outcome("filled") == filled + 4, bid=-61.0, ask=-60.0)
    fills = bench.read(topics.fills, 4, exactly=True)
    assert [(f.order_id, f.price) for f in fills] == [
        ("o2", Decimal("-36.97")),
        ("o4", Decimal("-36.97")),
        ("o1", Decimal("-60.0")),
        ("o3", Decimal("-60.0")),
    ]
    assert set(committed(bench).values()) >= {(4, "0:")}


def test_venue_when_a_second_one_starts_one_fences_the_other_and_orders_are_filled_once(bench, until):
    restarts = metrics.RESTARTS.labels("venue")._value
    filled, before, sent = outcome("filled"), restarts.get(), 0

    def fenced() -> bool:
        nonlocal sent
        bench.write(topics.ticks, "WTI", tick())
        bench.write(topics.orders, "WTI", order(sent))
        sent += 1
        return restarts.get() >= before + 2

    with bench.running(Venue(VenueConfig())), bench.running(Venue(VenueConfig())):
        until(fenced)
        quoting(bench, until, lambda: outcome("filled") == filled + sent)
    fills = bench.read(topics.fills, sent, exactly=True)
    assert [fill.order_id for fill in fills] == [f"o{number}" for number in range(sent)]


KILLED = """
import sys, threading
from sinks.config import VenueConfig
from sinks.runner import run_sinks
from sinks.trades import Venue
from streams.engine.cluster import Cluster
print("up", flush=True)
run_sinks(Cluster(sys.argv[1], prefix=sys.argv[2]), [Venue(VenueConfig())], threading.Event())
"""


def test_venue_when_killed_again_and_again_fills_each_order_exactly_once(bench, until):
    """kill -9 at moments of its own choosing: every order has one fill, and a repeat would have shown."""
    command = [sys.executable, "-c", KILLED, bench.cluster.bootstrap, bench.cluster.prefix]
    names = [f"I{i}" for i in range(8)]
    sent = 0
    for pause in (0.9, 1.1, 1.3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=os.getcwd())
        assert process.stdout is not None
        process.stdout.readline()
        until_time = time.monotonic() + pause
        while time.monotonic() < until_time:
            for name in names:
                bench.write(topics.ticks, name, tick(instrument=name))
                bench.write(topics.orders, name, order(sent, instrument=name))
                sent += 1
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    filled = outcome("filled")

    def all_filled() -> bool:
        for name in names:
            bench.write(topics.ticks, name, tick(instrument=name))
        low = [offset for offset, metadata in committed(bench).values() if metadata == "0:"]
        return sum(low) == sent and outcome("filled") > filled

    with bench.running(Venue(VenueConfig())):
        until(all_filled, 30)
    ids = [fill.order_id for fill in bench.read(topics.fills, sent, exactly=True)]
    assert sorted(ids) == sorted(f"o{n}" for n in range(sent))
