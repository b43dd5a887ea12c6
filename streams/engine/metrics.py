"""The engine's metrics, by Prometheus' conventions: base units, _total for counters."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

records = Counter("gridtape_engine_records_total", "Input records processed", ["application", "topic"])
outputs = Counter("gridtape_engine_outputs_total", "Records written in committed transactions", ["application"])
dead_letters = Counter("gridtape_engine_dead_letters_total", "Poison records set aside", ["application"])
commits = Counter("gridtape_engine_commits_total", "Committed transactions", ["application"])
aborts = Counter("gridtape_engine_aborts_total", "Transactions given up, by verdict", ["application", "verdict"])
commit_seconds = Histogram(
    "gridtape_engine_commit_seconds",
    "From the first produce to the committed transaction",
    ["application"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
batch_records = Histogram(
    "gridtape_engine_batch_records",
    "Records per poll",
    ["application"],
    buckets=(1, 10, 100, 1_000, 2_500, 5_000, 10_000),
)
lag = Gauge(
    "gridtape_engine_lag_records", "Records behind the end of the partition", ["application", "topic", "partition"]
)
tasks = Gauge("gridtape_engine_tasks", "Tasks by state", ["application", "slot", "state"])
restored = Counter("gridtape_engine_restored_records_total", "Changelog records read back", ["application"])
wiped = Counter(
    "gridtape_engine_state_wiped_total", "State files thrown away because they could not be trusted", ["application"]
)
restore_ratio = Gauge("gridtape_engine_restore_ratio", "How far the restore is, 0 to 1", ["application", "partition"])
state_keys = Gauge("gridtape_engine_state_keys", "Keys in the tables", ["application", "partition"])
standbys = Gauge("gridtape_engine_standbys", "Copies of other workers' tasks", ["application", "slot"])
standby_lag = Gauge(
    "gridtape_engine_standby_lag_records", "Changelog records a copy is behind", ["application", "partition"]
)
