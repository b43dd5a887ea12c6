"""npm packages that tests need as the other side, installed as their lock says, once per lock and machine; and scripts
that use them, which do what they are told."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest


def installed(sources: Path) -> Path:
    """node_modules of the package.json and package-lock.json in ``sources``, kept in the user's cache.

    Skips the test where Node.js, npm or the packages cannot be had.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed (Debian: apt-get install nodejs npm)")
    lock = (sources / "package-lock.json").read_bytes()
    name = json.loads((sources / "package.json").read_text())["name"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gridtape" / "npm"
    folder = cache / f"{name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        _install(sources, folder)
    return folder / "node_modules"


def _install(sources: Path, folder: Path) -> None:
    """Into a folder beside it, which then takes its place: test processes run side by side."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as work:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(sources / name, work)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--omit=optional"]
        try:
            result = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False, timeout=80)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm could not install {sources} within 80 s")
        if result.returncode:
            pytest.skip(f"npm could not install {sources}: {result.stderr.strip()[-300:]}")
        with suppress(OSError):  # another process was faster: its folder is not empty
            Path(work).rename(folder)


class NodeProcess:
    """A script that takes a line of JSON for each thing to do, and says by lines of JSON what has happened."""

    def __init__(self, modules: Path, script: Path, *arguments: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            ["node", str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NODE_PATH": str(modules)},
        )
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):  # packages log to standard output as well
                self._lines.put(json.loads(line))

    def until(self, event: str, timeout: float = 20.0) -> dict[str, Any]:
        """Wait for the next such event."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                found = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no {event} within {timeout} s; before: {self.events[-5:]}")
            self.events.append(found)
            if found["event"] == event:
                return found

    def do(self, what: str, **more: Any) -> None:
        """Tell the script to do something, and wait until it has."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        self.until("done")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
