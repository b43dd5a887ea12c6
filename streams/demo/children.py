"""The demonstration's own processes: each with a log file, and none outlives the demonstration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

from streams.local import guard
from streams.local.errors import ServiceError


class Children:
    """Processes started with ``python -m``, restarted by nobody: the demonstration says when one ends."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where the log files go."""
        self._folder = folder
        self.environment = dict(os.environ)
        """Of the processes started from now on."""
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start ``python -m ARGUMENTS`` with its output in ``NAME.log``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log = (self._folder / f"{name}.log").open("wb")
        command = [sys.executable, "-I", "-S", str(Path(guard.__file__)), sys.executable, "-m", *arguments]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # the guard ends the process when this pipe closes, however that comes about
            stdout=log,
            stderr=subprocess.STDOUT,
            env=self.environment,
            start_new_session=True,
        )
        self._running[name] = (process, log)

    def log_of(self, name: str) -> Path:
        """The log file of a process."""
        return self._folder / f"{name}.log"

    def check(self) -> None:
        """Raise ServiceError with the end of its log when a process has ended."""
        for name, (process, _) in self._running.items():
            code = process.poll()
            if code is not None:
                tail = "\n".join(self.log_of(name).read_text(errors="replace").splitlines()[-8:])
                raise ServiceError(
                    f"{name} has ended with status {code}. Its log {self.log_of(name)} closes with:\n{tail}"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, patience: float = 10.0) -> None:
        """End them in the order in which records flow, so that each drains what the one before it has written."""
        deadline = time.monotonic() + patience
        for process, log in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(max(0.5, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
            if process.stdin is not None:
                process.stdin.close()
        self._running.clear()
