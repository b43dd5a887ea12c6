"""The demonstration as a user runs it, and the promises of the README that can be tried while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.local.kafka import tool

ROOT = Path(__file__).parents[2]
SECONDS = 60


class Demo:
    """`gridtape demo` with its output, followed line by line."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GRIDTAPE_")},
            "GRIDTAPE_DATA_DIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "demo", "--for", str(SECONDS), "--plain"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            cwd=folder,
        )

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches; pytest's timeout ends a wait without end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the demo ended without {pattern!r}:\n{''.join(self.lines[-40:])}")

    def finish(self) -> int:
        """Read to the end; the exit status."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        return self.process.wait(30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        running.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def address(demo: Demo) -> str:
    return demo.until(r"Kafka (127\.0\.0\.1:\d+)").group(1)


@pytest.fixture(scope="module")
def alert(demo: Demo, address: str) -> str:
    return demo.until(r"first alert [\d.]+ s after the start: (\S+)").group(1)


def printed(command: list[str], environment: dict[str, str], *wanted: str) -> str:
    """Run ``command`` until its output has all that is ``wanted``, at most 40 s; the output."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    end = threading.Timer(40, process.kill)
    end.start()
    text = ""
    assert process.stdout is not None
    for line in process.stdout:
        text += line
        if all(part in text for part in wanted):
            break
    end.cancel()
    process.kill()
    process.communicate()
    assert all(part in text for part in wanted), text[-3000:]
    return text


def test_readme_script_when_run_prints_alerts_and_positions(address: str, alert: str) -> None:
    script = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert script is not None
    assert len([line for line in script.group(1).splitlines() if line.strip()]) <= 15

    command = [sys.executable, "-u", "-c", script.group(1)]
    printed(command, {**os.environ, "GRIDTAPE_KAFKA": address}, "positions {'book'", f"alerts {{'alert_id': '{alert}'")


def test_why_when_asked_for_an_alert_prints_the_rule_and_the_input_records(
    demo: Demo, address: str, alert: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "why", alert, "--kafka", address],
        capture_output=True,
        text=True,
        env={**demo.environment, "COLUMNS": "200"},
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert alert in done.stdout
    assert re.search(r"(rule|limit)\S* \S*", done.stdout)
    assert re.search(r"(telemetry|ticks|fills)\[\d\]@\d+", done.stdout), done.stdout


def test_kafkas_own_console_consumer_when_read_committed_reads_alerts_and_positions(address: str, alert: str) -> None:
    command = [
        *tool("org.apache.kafka.tools.consumer.ConsoleConsumer"),
        *("--bootstrap-server", address, "--include", "alerts|positions", "--from-beginning"),
        *("--isolation-level", "read_committed"),
    ]
    wanted = (f'"alert_id":"{alert}"', '"average_price":"', '"marked_by":{"topic":"ticks"')
    printed(command, dict(os.environ), *wanted)


@pytest.mark.timeout(150)
def test_demo_when_run_for_a_while_shows_everything_and_exits_zero(demo: Demo, alert: str) -> None:
    status = demo.finish()

    text = "".join(demo.lines)
    assert status == 0, text[-4000:]
    assert "All of it happened." in text
    assert "MISSING" not in text
