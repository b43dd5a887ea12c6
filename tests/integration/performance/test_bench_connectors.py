"""The benchmark of the connectors still runs: every one brings what was counted into Kafka, and figures come of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.performance.bench_connectors import ENTRIES

ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(320)
def test_benchmark_when_run_shortly_measures_every_connector(kafka: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.performance.bench_connectors", "--smoke"]
    command += ["--kafka", kafka, "--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((tmp_path / "figures.json").read_bytes())
    assert list(measured) == list(ENTRIES)
    assert all(figure(one, "peak memory of the connector") > 0 for one in measured.values())
    assert figure(measured["modbus"], "values read") > 0
    assert figure(measured["opcua"], "values, 200 items") > 0
    assert figure(measured["opcua"], "values missing") == 0


def figure(figures: list[dict[str, Any]], what: str) -> float:
    """The one that is called ``what``."""
    (value,) = (float(one["value"]) for one in figures if one["what"] == what)
    return value
