"""What Faust cannot promise, shown; what keeps it at least once, held."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

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


def test_engine_when_faust_is_asked_what_it_cannot_says_so(tmp_path):
    properties = tmp_path / "client.properties"
    properties.write_text("security.protocol=SSL\n")
    secured = Settings.load(kafka="127.0.0.1:1", kafka_config=properties)
    with pytest.raises(SettingsError, match="without TLS and passwords only"):
        run.processors(secured, [], 0, threading.Event(), run.Engine.FAUST)
    with pytest.raises(SettingsError, match="slots are the native engine's"):
        run.processors(Settings.load(kafka="127.0.0.1:1"), [], 1, threading.Event(), run.Engine.FAUST)
