"""A process that waits for somebody ends as soon as it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.capture.rehearsal import Notebook
from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.connector import WebSocketConnector

MARKET = '[market]\nrate = 1\ninstruments = [{ instrument = "WTI", file = "wti-daily.csv" }]\n'


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def test_run_when_kafka_does_not_answer_says_so_and_ends_at_the_first_signal_without_the_clients_complaints(
    tmp_path: Path, silent: socket.socket
) -> None:
    (tmp_path / "c.toml").write_text(MARKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "run", "connectors", "--config", "c.toml"],
        cwd=tmp_path,
        env=os.environ | {"GRIDTAPE_KAFKA": f"127.0.0.1:{silent.getsockname()[1]}"},
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        asking, _ = silent.accept()
        assert process.stderr is not None
        with asking:
            waits = next(line for line in process.stderr if "waiting for Kafka" in line)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=10)
    finally:
        watchdog.cancel()
        process.kill()
    assert f"127.0.0.1:{silent.getsockname()[1]}" in waits
    assert process.returncode == 0
    assert '"event": "ended"' in said
    assert "rdkafka" not in said


def test_websocket_when_the_venue_never_answers_stops_at_once(silent: socket.socket) -> None:
    settings = {
        "name": "ws",
        "url": f"ws://127.0.0.1:{silent.getsockname()[1]}/feed",
        "venue": "X",
        "instruments": [{"instrument": "HENRY-HUB"}],
        "messages": [{"kind": "ignore", "when": {}}],
    }
    connector = WebSocketConnector([WebSocketConfig.model_validate(settings)], Notebook())
    stop = threading.Event()
    thread = threading.Thread(target=connector.run, args=(stop,))
    thread.start()
    asking, _ = silent.accept()
    with asking:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
