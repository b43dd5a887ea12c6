"""A password reaches the one who asks for it, and no log: not by settings, not by a failure, not by a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECRET = "correct-horse-battery"
CONFIG = """
[mqtt]
host = "127.0.0.1"
port = 1
username = "ann"
password_env = "PLANT_PASSWORD"
devices = [{ name = "d" }]
subscriptions = [{ filter = "d/{point}", device = "d", points = [{ name = "p", unit = "1" }] }]
"""
# A process of its own, since loggers keep the first settings that they saw.
PROGRAM = """
import sys, threading
from pathlib import Path
import structlog
from connectors.config import load
from connectors.mqtt.connector import MqttConnector
from connectors.runner import Service, run_services
from streams.commands.process import configure_logging
from streams.engine.cluster import Cluster

if sys.argv[2] == "terminal":
    sys.stderr.isatty = lambda: True
configure_logging()
config = load(Path(sys.argv[1]))
structlog.get_logger("settings").warning("these are the settings", config=config, mqtt=repr(config.mqtt))
stop = threading.Event()
starts = []

def make(outlet):
    password = config.mqtt.password()
    starts.append(outlet)
    if len(starts) == 1:
        raise RuntimeError(f"a failure near the password of {len(password)} letters")
    threading.Timer(0.5, stop.set).start()
    return MqttConnector(config.mqtt, outlet)

run_services([Service("t-secret", make)], Cluster("127.0.0.1:1"), stop)
"""


@pytest.mark.parametrize("where", ["terminal", "file"])
def test_secret_when_everything_fails_and_is_logged_is_not_in_the_log(tmp_path: Path, where: str) -> None:
    (tmp_path / "c.toml").write_text(CONFIG)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "c.toml"), where],
        env={**os.environ, "PLANT_PASSWORD": SECRET, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = ended.stdout + ended.stderr
    assert "a failure near the password of 21 letters" in said
    assert "no connection to the broker" in said
    assert "PLANT_PASSWORD" in said
    assert SECRET not in said
