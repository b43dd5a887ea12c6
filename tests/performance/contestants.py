"""Starts a contestant as a process of its own, reads what it says, measures what it takes."""

from __future__ import annotations

import collections
import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.local.progress import Progress
from tests.performance.load import Run, create, drop, fresh
from tests.performance.peers import environments

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Contestant:
    """One column of the tables. ``system``: gridtape, kafka-streams, quix or faust; ``work``: what its program is told;
    ``share``: the part of the ticks it is given, since all shall run for about as long; ``commit_ms``: its interval."""

    name: str
    system: str
    work: str
    workers: int = 1
    share: float = 1.0
    commit_ms: int = 100

    def command(self) -> list[str]:
        """Its program; made or downloaded first if need be."""
        if self.system == "gridtape":
            return [sys.executable, str(HERE / "peers" / "gridtape_run.py")]
        if self.system == "kafka-streams":
            return environments.kafka_streams(Progress())
        return environments.python(self.system)


class Running:
    """A started contestant."""

    def __init__(self, contestant: Contestant, cluster: Run, marks: list[int], state: str) -> None:
        self.contestant = contestant
        self.output = cluster.named("positions")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        arguments = {
            "--kafka": cluster.bootstrap,
            "--group": f"{cluster.prefix}-{cluster.run}",
            "--work": contestant.work,
            "--ticks": cluster.named("ticks"),
            "--fills": cluster.named("fills"),
            "--output": self.output,
            "--marks": ",".join(map(str, marks)),
            "--workers": str(contestant.workers),
            "--commit-ms": str(contestant.commit_ms),
            "--state": state,
        }
        command = contestant.command() + [part for pair in arguments.items() for part in pair]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, cwd=HERE.parent.parent
        )
        self._said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._chatter: collections.deque[str] = collections.deque(maxlen=20)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"{"):
                self._said.put(json.loads(line))
            else:
                self._chatter.append(line.decode(errors="replace"))
        self._said.put(None)

    def wait(self, word: str, timeout: float = 120.0) -> dict[str, Any]:
        """The next line in which it says ``word``. Raises RuntimeError with its complaints when it ends before that."""
        while True:
            try:
                said = self._said.get(timeout=timeout)
            except queue.Empty:
                raise RuntimeError(
                    f"{self.contestant.name} said nothing for {timeout:g} s\n{self.complaints()}"
                ) from None
            if said is None:
                raise RuntimeError(f"{self.contestant.name} has ended\n{self.complaints()}")
            if word in said:
                return said

    def ask(self) -> dict[str, Any]:
        """How much memory its state takes now."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"?")
        self._process.stdin.flush()
        return self.wait("heap_bytes")

    def complaints(self) -> str:
        """The end of what else it wrote, to standard output and to standard error."""
        self._log.seek(0)
        return "".join(self._chatter) + self._log.read()[-3000:].decode(errors="replace")

    def peak_mb(self) -> float:
        """The most memory it has had, in MiB; of several processes the first."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024

    def stop(self) -> None:
        """End it: its standard input is closed, and it has ten seconds."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextlib.contextmanager
def running(contestant: Contestant, load: Run, marks: list[int] | None = None, *, run: str = "") -> Iterator[Running]:
    """Start a contestant on a load with topics of its own; end it and delete them afterwards, unless ``run`` names
    them, which are then kept."""
    cluster = Run(load.bootstrap, prefix=load.prefix, run=run or fresh("run"))
    create(cluster, "positions", "journal", "dead-letters", "positions-changelog")
    with tempfile.TemporaryDirectory() as state:
        started = Running(contestant, cluster, marks or [], state)
        try:
            yield started
        finally:
            started.stop()
            if not run:
                drop(cluster, f"{cluster.prefix}-{cluster.run}")
