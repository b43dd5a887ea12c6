"""The benchmark's programs still run, and all of them come to the same positions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.performance.peers import environments

ROOT = Path(__file__).parents[3]


def smoke(kafka: str, *arguments: str) -> str:
    """What a short benchmark prints."""
    command = [sys.executable, "-m", "tests.performance.bench_engine", "--smoke", "--kafka", kafka, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out" not in done.stdout, done.stdout
    return done.stdout


@pytest.mark.timeout(520)
def test_benchmark_when_run_on_gridtape_alone_compares_positions_and_restores(kafka: str) -> None:
    printed = smoke(kafka, "--only", "gridtape", "--parts", "equal", "restore")
    assert "comparing the positions of gridtape, newest tick per key" in printed
    assert "Restore of 2,000 keys" in printed


@pytest.mark.skipif(
    not environments.present(), reason="the peers are not here: make bench-engine would download 300 MB for them"
)
@pytest.mark.timeout(520)
@pytest.mark.parametrize("peer", ["kafka-streams", "quix", "faust"])
def test_benchmark_when_a_peer_is_here_it_writes_for_every_tick(kafka: str, peer: str) -> None:
    printed = smoke(kafka, "--only", peer, "--parts", "each")
    assert "One output per tick" in printed
