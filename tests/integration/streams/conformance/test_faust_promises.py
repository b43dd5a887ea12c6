"""What Faust cannot promise, shown; what keeps it at least once, held."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from schemas import topics
from streams.commands import run
from streams.engine.errors import Fatal
from streams.engine.partitions import partition_of
from streams.faust_driver.host import Host
from streams.faust_driver.run import run_hosts
from streams.settings import Settings, SettingsError
from streams.vocabulary import Words
from tests.conftest import PARTITIONS
from tests.integration.streams.conformance import faust_process
from tests.integration.streams.conformance.conftest import OPTIONS, OnKafka, on_faust
from tests.integration.streams.conformance.deciding import Deciding
from tests.integration.streams.conformance.test_conformance import SECOND, START, await_, fill, said, tick


def test_faust_when_killed_between_output_and_commit_writes_and_counts_twice(cluster):
    """Why it is not the default. The native engine under the same kill: tests/acceptance/test_kill_processors.py."""
    driver = OnKafka(cluster, on_faust(cluster))
    driver.put(topics.ticks, "I0", tick("I0"))
    driver.all(topics.ticks)
    command = [sys.executable, faust_process.__file__, cluster.bootstrap, cluster.prefix]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        await_(lambda: said(driver, "ticks")["I0"], bool, "the first output")
    finally:
        child.kill()
        child.wait()
    driver.start()
    found = await_(lambda: said(driver, "ticks")["I0"], lambda found: len(found) >= 2, "the second output")
    driver.stop()
    assert len({record.event_time for record in found}) == 1, "both are of the one tick"
    assert [record.value for record in found] in ([1.0, 2.0], [1.0, 1.0]), "its state may be ahead of its offsets"


def test_faust_when_a_decision_fails_stops_and_loses_nothing(cluster):
    """take() would acknowledge the events that the agent failed on: they would be lost."""

    class Failing(Deciding):
        def on_time(self, key, now, out):
            raise ArithmeticError("broken on purpose")

    def failing(stop: threading.Event) -> None:
        run_hosts([Host(cluster, Failing, Words(), partitions=PARTITIONS, options=OPTIONS)], stop)

    neighbour = next(name for n in range(99) if partition_of(name := f"X{n}", 4) == partition_of("I0", 4))
    driver = OnKafka(cluster, failing)
    for n in range(3):
        driver.put(topics.ticks, "I0", tick("I0", 10 * n))
    driver.put(topics.fills, neighbour, fill(neighbour, 1, START + 60 * SECOND))
    driver.put(topics.ticks, neighbour, tick(neighbour, 60))
    driver.start()
    driver.ended()
    with pytest.raises(Fatal, match="broken on purpose"):
        driver.stop()
    mended = OnKafka(cluster, on_faust(cluster))
    mended.start()
    everything = {START + 10 * n * SECOND for n in range(3)}
    await_(lambda: {r.event_time for r in said(mended, "ticks")["I0"]}, lambda found: found == everything, "all ticks")
    await_(lambda: said(mended, "event")["I0"], bool, "the timer that failed before")
    mended.stop()


def test_faust_when_it_leaves_records_out_decides_them_in_order_and_commits_past_them(cluster):
    """As its queues are emptied in rebalances: records in the middle are taken away, and the last ones."""

    class Forgetful(Host):
        async def _process(self, events):
            taken = [
                e for e in events if e.message.topic == cluster.named("ticks") and e.message.offset in (1, 2, 5, 6)
            ]
            return await super()._process([event for event in events if event not in taken])

    def forgetful(stop: threading.Event) -> None:
        run_hosts([Forgetful(cluster, Deciding, Words(), partitions=PARTITIONS, options=OPTIONS)], stop)

    names = list({partition_of(f"X{n}", PARTITIONS): f"X{n}" for n in range(40)}.values())
    assert len(names) == PARTITIONS
    driver = OnKafka(cluster, forgetful)

    def put(first: int, end: int) -> None:
        for n in range(first, end):
            for name in names:
                driver.put(topics.ticks, name, tick(name, n))

    def decided(each: int) -> bool:
        found = await_(
            lambda: said(driver, "ticks"), lambda found: all(len(found[name]) >= each for name in names), f"{each} each"
        )
        return all([r.event_time for r in found[name]] == [START + n * SECOND for n in range(each)] for name in names)

    put(0, 7)
    driver.start()
    assert decided(7)
    put(7, 8)
    assert decided(8)
    driver.stop()
    put(8, 9)
    driver.start()
    assert decided(9), "what was decided before the stop is not decided again"
    driver.stop()


def test_faust_when_inputs_come_in_transactions_takes_the_missing_numbers_for_what_they_are(cluster):
    """The end of a transaction has an offset too, as another gridtape's outputs do."""
    producer = cluster.publisher(transactional_id=cluster.named("source"))
    producer.init_transactions(30)
    for n in range(5):
        producer.begin_transaction()
        producer.produce(
            cluster.named("ticks"), topics.ticks.encode(tick("I0", n)), b"I0", partition_of("I0", PARTITIONS)
        )
        producer.commit_transaction(30)
    driver = OnKafka(cluster, on_faust(cluster))
    driver.start()
    found = await_(lambda: said(driver, "ticks")["I0"], lambda found: len(found) >= 5, "five counts")
    driver.stop()
    assert [record.event_time for record in found] == [START + n * SECOND for n in range(5)]


def test_faust_when_the_topic_no_longer_has_the_committed_offset_stops_and_says_so(cluster):
    driver = OnKafka(cluster, on_faust(cluster))
    driver.put(topics.ticks, "I0", tick("I0"))
    driver.start()
    await_(lambda: said(driver, "ticks")["I0"], bool, "the first output")
    driver.stop()
    place = partition_of("I0", PARTITIONS)
    group = ConsumerGroupTopicPartitions(
        cluster.named("deciding-faust"), [TopicPartition(cluster.named("ticks"), place, 9)]
    )
    admin = cluster.admin()
    next(iter(admin.alter_consumer_group_offsets([group]).values())).result(30)
    driver.start()
    driver.ended()
    with pytest.raises(Fatal, match=rf"ticks\[{place}\]: the committed offset 9 is no longer in the topic.* 0 to 1"):
        driver.stop()


def test_engine_when_faust_is_asked_what_it_cannot_says_so(tmp_path):
    properties = tmp_path / "client.properties"
    properties.write_text("security.protocol=SSL\n")
    secured = Settings.load(kafka="127.0.0.1:1", kafka_config=properties)
    with pytest.raises(SettingsError, match="without TLS and passwords only"):
        run.processors(secured, [], 0, threading.Event(), run.Engine.FAUST)
    with pytest.raises(SettingsError, match="slots are the native engine's"):
        run.processors(Settings.load(kafka="127.0.0.1:1"), [], 1, threading.Event(), run.Engine.FAUST)
