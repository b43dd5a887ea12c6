"""gridtape plant and what gridtape connect check sees of it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

from rich.console import Console

from streams.commands import connect, plant
from streams.local.service import free_port
from streams.settings import Settings
from tests.conftest import wait_until


def test_plant_when_run_names_the_file_that_reads_it_and_ends_at_a_signal(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "plant", "gas", "--port", str(free_port())],
        env=os.environ | {"GRIDTAPE_DATA_DIR": str(tmp_path / "my data")},
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        what, how = process.stdout.readline(), process.stdout.readline()
        assert "gas-1, a simulated gas plant, answers Modbus TCP on 127.0.0.1:" in what
        command = shlex.split(how.partition(": ")[2])
        assert command[:3] == ["gridtape", "connect", "check"]
        page = Console(record=True, width=200)
        assert connect.check(Path(command[3]), 10, threading.Event(), page), page.export_text()
        assert page.export_text(clear=False).count(" gas-1 ") == 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate(timeout=10)


def test_plants_when_they_publish_to_one_broker_every_point_of_their_files_is_good(
    tmp_path: Path, mqtt_broker: tuple[str, int]
) -> None:
    settings = Settings.load(data_dir=tmp_path, mqtt=f"127.0.0.1:{mqtt_broker[1]}")
    stop, console = threading.Event(), Console(quiet=True)
    running = [threading.Thread(target=serve, args=(settings, stop, console)) for serve in (plant.battery, plant.solar)]
    for thread in running:
        thread.start()
    try:
        files = [tmp_path / "plants" / f"{name}.toml" for name in ("battery", "solar")]
        wait_until(lambda: all(file.exists() and file.stat().st_size for file in files))
        together = "\n".join(file.read_text() for file in files)
        # A node that was born before the host came is asked for its birth after this time.
        together = together.replace("[sparkplug]", "[sparkplug]\nreorder_timeout = 0.2")
        (tmp_path / "all.toml").write_text(together)
        page = Console(record=True, width=200)
        assert connect.check(tmp_path / "all.toml", 15, threading.Event(), page), page.export_text()
    finally:
        stop.set()
        for thread in running:
            thread.join(10)
    assert not any(thread.is_alive() for thread in running)
