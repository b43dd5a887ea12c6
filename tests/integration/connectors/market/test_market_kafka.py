from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors.market.config import LineFaults, MarketConfig, MarketInstrument, Silence
from connectors.market.connector import MarketConnector
from connectors.publisher import Publisher
from schemas import topics
from schemas.gaps import GapReason
from schemas.topics import Topic
from streams.engine.cluster import Cluster


def read(cluster: Cluster, topic: Topic, least: int) -> list[tuple[str, str, object]]:
    """At least ``least`` records of a topic and all that are there: key, ce_id and record."""
    consumer = cluster.reader("look")
    consumer.assign([TopicPartition(cluster.named(topic.name), p, OFFSET_BEGINNING) for p in range(4)])
    found: list[tuple[str, str, object]] = []
    deadline = time.monotonic() + 20
    batch = consumer.consume(5000, 0.5)
    while batch or len(found) < least:
        assert time.monotonic() < deadline, f"{len(found)} of {least} in {topic.name}"
        found += [(m.key().decode(), dict(m.headers())["ce_id"].decode(), topic.decode(m.value())) for m in batch]
        batch = consumer.consume(5000, 0.3)
    consumer.close()
    return found


def gaps_of(gaps: list[tuple[str, str, object]], name: str) -> list[Any]:
    """The gaps of missing numbers."""
    return [gap for key, _id, gap in gaps if key == name and gap.reason is GapReason.SEQUENCE]


def instruments(*names: str) -> tuple[MarketInstrument, ...]:
    return tuple(MarketInstrument(instrument=name, file="wti-daily.csv") for name in names)


def test_replay_when_ticks_are_missing_or_overtaken_writes_them_with_their_times_and_every_gap_once(cluster):
    config = MarketConfig(
        instruments=instruments("A", "B"),
        rate=200,
        max_ticks=800,
        silence_after=0.2,
        faults=LineFaults(delete=0.02, duplicate=0.02, swap=0.02),
        silences=(Silence(instrument="B", after=0.5, lasts=0.6),),
    )
    publisher = Publisher(cluster, "market")
    MarketConnector(config, publisher).run(threading.Event())
    publisher.close()
    ticks, gaps = read(cluster, topics.ticks, 500), read(cluster, topics.gaps, 4)
    assert len({identity for _key, identity, _tick in ticks}) == len(ticks)
    assert len({identity for _key, identity, _gap in gaps}) == len(gaps)
    silence = [(gap.key, gap.open) for _key, _id, gap in gaps if gap.reason is GapReason.SILENCE]
    assert silence == [("B", True), ("B", False)]
    for name in ("A", "B"):
        mine = [tick for key, _id, tick in ticks if key == name]
        numbers = {tick.sequence for tick in mine}
        opened = [gap for gap in gaps_of(gaps, name) if gap.open]
        holes = {n for gap in opened for n in range(gap.first, gap.last + 1)}
        assert set(range(mine[0].sequence, max(numbers) + 1)) <= numbers | holes
        closed = {n for gap in gaps_of(gaps, name) if not gap.open for n in range(gap.first, gap.last + 1)}
        late = [tick for tick, before in zip(mine[1:], mine, strict=False) if tick.sequence < before.sequence]
        assert {tick.sequence for tick in late} <= closed, "what is late closes its gap"
        assert holes - numbers, "no message was lost: the test shows nothing"
        assert late, "no message was overtaken: the test shows nothing"
        in_order = sorted(mine, key=lambda tick: tick.sequence)
        assert in_order == sorted(mine, key=lambda tick: tick.event_time), "each has its own time, late or not"
        ended = [gap for key, _id, gap in gaps if key == name and gap.reason is GapReason.DISCONNECTED]
        assert [(gap.open, gap.detail) for gap in ended] == [(True, "the replay has ended")]


def test_replay_when_stopped_and_started_again_makes_no_id_twice(cluster):
    config = MarketConfig(instruments=instruments("A"), speed="max", loop=True)
    for _ in range(2):
        publisher, stop = Publisher(cluster, "market"), threading.Event()
        thread = threading.Thread(target=MarketConnector(config, publisher).run, args=(stop,))
        thread.start()
        deadline = time.monotonic() + 20
        while publisher.outstanding == 0:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
        publisher.close()
    ticks = read(cluster, topics.ticks, 2)
    assert [tick.sequence for _key, _id, tick in ticks].count(1) == 2
    assert len({identity for _key, identity, _tick in ticks}) == len(ticks)
    times = [tick.event_time for _key, _id, tick in ticks]
    assert times == sorted(set(times)), "a newer session must look newer"
