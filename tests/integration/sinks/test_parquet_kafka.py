from __future__ import annotations

import pyarrow.dataset as ds

from schemas import topics
from sinks.config import ParquetConfig
from sinks.parquet import Parquet


def ids(folder) -> list[str]:
    return sorted(ds.dataset(folder, partitioning="hive").to_table().column("alert_id").to_pylist())


def test_parquet_when_running_writes_by_rows_then_by_time_and_the_rest_on_stop(bench, until, make_alert, tmp_path):
    sink = Parquet(ParquetConfig(folder=tmp_path, topics=("alerts",), rows=10, seconds=600))
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(25)))
    with bench.running(sink):
        until(lambda: len(list(tmp_path.rglob("*.parquet"))) >= 2)
    quick = Parquet(ParquetConfig(folder=tmp_path, topics=("alerts",), rows=1000, seconds=0.1))
    bench.write(topics.alerts, "oil", make_alert(25))
    with bench.running(quick):
        until(lambda: len(ids(tmp_path)) == 26)
    assert ids(tmp_path) == sorted(f"oil/ticks/0/{i}" for i in range(26))


def test_parquet_when_everything_is_read_again_writes_nothing_twice(bench, until, make_alert, tmp_path):
    config = ParquetConfig(folder=tmp_path, topics=("alerts",), rows=7, seconds=0.1)
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(20)))
    with bench.running(Parquet(config)):
        until(lambda: tmp_path.exists() and list(tmp_path.rglob("*.parquet")) and len(ids(tmp_path)) == 20)
    again = Parquet(config)
    again.name = "parquet-again"  # a group without committed offsets: as if every commit had been lost
    bench.write(topics.alerts, "oil", make_alert(20))
    with bench.running(again):
        until(lambda: len(ids(tmp_path)) >= 21)
    assert ids(tmp_path) == sorted(f"oil/ticks/0/{i}" for i in range(21))
