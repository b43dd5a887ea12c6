"""The broker to be broken, with a second listener that is reached through the proxy, and the proxy's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from streams.local.kafka import Kafka
from streams.local.service import HOST, free_port


class Broker(Kafka):
    """A real Kafka that tells clients of its second listener to come back through ``proxy_port``."""

    def __init__(self, folder: Path, proxy_port: int) -> None:
        super().__init__(folder)
        self.inner_port = free_port()
        self._proxy_port = proxy_port

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        settings["listeners"] += f",PROXIED://{HOST}:{self.inner_port}"
        return settings | {
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port},PROXIED://{HOST}:{self._proxy_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }

    def start(self, timeout: float = 300.0) -> Self:
        """As ever, but patient: a busy machine is no finding."""
        return super().start(timeout)

    def kill(self) -> None:
        """``kill -9``."""
        self.send(signal.SIGKILL)
        self.stop()

    def send(self, number: signal.Signals) -> None:
        """A signal to the server and its guard."""
        assert self._process is not None
        os.killpg(self._process.pid, number)


class ProxyProcess:
    """The proxy in a process of its own, so that nothing else can hold it up."""

    def __init__(self, port: int, upstream: int) -> None:
        command = [sys.executable, "-m", "tests.faults.proxy", str(port), str(upstream)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer("ready")

    def tell(self, **command: Any) -> None:
        """Give a command and wait until it is carried out."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        self._answer("done")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()

    def _answer(self, expected: str) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if answer != expected:
            raise RuntimeError(f"the proxy ended (exit code {self._process.wait()}); it said {answer!r}")
