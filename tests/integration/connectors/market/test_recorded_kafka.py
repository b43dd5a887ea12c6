"""Recorded ticks from real files into a real Kafka: nothing is lost and nothing stands there that no file says."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pyarrow as pa
from msgspec import structs
from pyarrow import parquet
from rich.console import Console

from connectors.config import load
from connectors.market.recorded.connector import ENDED, RecordedConnector
from connectors.publisher import Publisher
from schemas.dead_letters import DeadLetter
from schemas.devices import Device
from schemas.gaps import Gap
from schemas.ticks import Tick
from streams.commands import connect
from streams.engine.cluster import Cluster
from tests.conftest import wait_until

AT = 1_795_168_800_000_000
SETTINGS = """
[[recorded]]
name = "friday"
files = ["?.*"]
venue = "ICE"
instrument = "NG"
time_format = "us"
speed = {speed}
columns = {{ bid = "bid", ask = "ask", sequence = "seq" }}
"""


def line(number: int) -> str:
    return f"{AT + number * 5000},{number}.25,{number}.75,{number}\n"


def write(path, numbers) -> None:
    path.write_text("time,bid,ask,seq\n" + "".join(line(number) for number in numbers))


def settings(folder, speed: str = '"max"'):
    path = folder / "connectors.toml"
    path.write_text(SETTINGS.format(speed=speed))
    return path


def test_recorded_when_kafka_is_away_and_the_file_is_cut_meanwhile_every_row_is_accounted_for(
    cluster, records, late_kafka, tmp_path
):
    """A small bound stands for a long time. The next file has a hole, a late tick and one that never came."""
    csv = tmp_path / "a.csv"
    write(csv, range(1, 2001))
    hole = [2001, 2003, 2002, 2005]
    columns = {"time": [AT + n * 5000 for n in hole], "bid": [n + 0.25 for n in hole], "ask": [n + 0.75 for n in hole]}
    parquet.write_table(pa.table(columns | {"seq": hole}), tmp_path / "b.parquet")
    away = Publisher(Cluster(late_kafka.address, prefix=cluster.prefix), "recorded", max_outstanding=5)
    connector = RecordedConnector(load(settings(tmp_path)).recorded, away)
    stop = threading.Event()
    thread = threading.Thread(target=connector.run, args=(stop,))
    with closing(away):
        thread.start()
        try:
            wait_until(lambda: away.outstanding == 5)
            whole = "".join(line(n) for n in range(1, 1001)) + line(1001)[:-6]
            os.truncate(csv, len("time,bid,ask,seq\n") + len(whole))
            late_kafka.come()
            records.until(lambda: [g.open for g in records.of(Gap) if ENDED in g.detail] == [True], "the end")
        finally:
            stop.set()
            thread.join(10)
    assert not thread.is_alive()
    records.rest()
    ticks = records.of(Tick)
    assert [tick.sequence for tick in ticks] == [*range(1, 1001), *hole]
    assert all((t.bid, t.ask) == (t.sequence + 0.25, t.sequence + 0.75) for t in ticks)
    assert [tick.event_time for tick in ticks] == [AT + tick.sequence * 5000 for tick in ticks]
    holes = [(gap.open, gap.first, gap.last) for gap in records.of(Gap) if gap.reason == "sequence"]
    assert holes == [(True, 1001, 2000), (True, 2002, 2002), (False, 2002, 2002), (True, 2004, 2004)]
    cut, shorter = records.of(DeadLetter)
    assert (cut.source, cut.reason.partition(":")[0]) == (f"recorded:{csv}:1002", "the last line does not end")
    assert "bytes long when it was opened, and ends now at" in shorter.reason
    assert len(set(records.ids)) == len(records.ids)


def test_recorded_when_killed_and_started_again_plays_from_the_beginning_under_the_same_ids(
    cluster, records, process, tmp_path, kafka
):
    write(tmp_path / "a.csv", range(1, 2001))
    with process(SETTINGS.format(speed="1"), kafka, prefix=cluster.prefix):
        records.until(lambda: len(records.ticks()) >= 20, "the first ticks")
    records.rest()
    before = len(records.all)
    with process(SETTINGS.format(speed='"max"'), kafka, prefix=cluster.prefix) as again:
        records.until(lambda: again.poll() == 0, "its own end")
    records.rest()
    assert [device.reason for device in records.of(Device)][-1] == ENDED
    first, second = (
        {i: structs.replace(r, receive_time=AT) for i, r in zip(ids, part, strict=True) if isinstance(r, Tick)}
        for ids, part in ((records.ids[:before], records.all[:before]), (records.ids[before:], records.all[before:]))
    )
    assert 20 <= len(first) < 2000
    assert set(second) == {f"friday/a.csv/{n}" for n in range(2, 2002)}
    assert first.items() <= second.items()
    opened = [gap for gap in records.of(Gap) if gap.open and "begins" in gap.detail]
    assert len(opened) == 2, "what was played before the kill is not taken for fresh"


def test_check_when_ticks_are_recorded_shows_the_last_of_each_instrument(tmp_path):
    write(tmp_path / "a.csv", range(1, 101))
    page = Console(record=True, width=200)
    assert connect.check(settings(tmp_path, "1"), 30, threading.Event(), page)
    (row,) = [one for one in page.export_text().splitlines() if one.startswith(" ICE")]
    assert "bid 100.25, ask 100.75" in row
    assert line(100).encode()[:16].hex(" ") in row
