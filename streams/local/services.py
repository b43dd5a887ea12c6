"""The services that a demo or a test needs, started and stopped together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.local.errors import ServiceError
from streams.local.kafka import Kafka
from streams.local.mqtt import mqtt as best_mqtt
from streams.local.progress import Progress
from streams.local.redis import Redis
from streams.local.service import Service


@dataclass(frozen=True)
class Addresses:
    """Where the started services listen; None for one that was not asked for.

    ``kafka`` and ``mqtt``: host:port; ``redis``: a redis:// URL; ``mqtt_broker``: "Mosquitto" or "amqtt".
    """

    kafka: str | None = None
    redis: str | None = None
    mqtt: str | None = None
    mqtt_broker: str | None = None


class LocalServices:
    """Starts services side by side under ``data_dir`` and stops them on exit.

    >>> with LocalServices(Path("/tmp/gridtape")).start(kafka=True) as services:  # doctest: +SKIP
    ...     print(services.addresses.kafka)
    """

    def __init__(self, data_dir: Path, *, progress: Progress | None = None, repository: str | None = None) -> None:
        """``repository``: address of a Maven repository, by default Maven Central."""
        self.data_dir = data_dir.expanduser().absolute()
        self.addresses = Addresses()
        self._progress = progress or Progress()
        self._repository = repository
        self._services: list[Service] = []

    def start(self, *, kafka: bool = False, redis: bool = False, mqtt: bool = False, timeout: float = 60.0) -> Self:
        """Start what is asked for and wait until all answer.

        Raises ServiceError when one fails; those that had started are stopped again.
        """
        broker = Kafka(self.data_dir / "kafka", progress=self._progress, repository=self._repository) if kafka else None
        cache = Redis(self.data_dir / "redis") if redis else None
        devices = best_mqtt(self.data_dir) if mqtt else None
        wanted: list[Service] = [service for service in (devices, cache, broker) if service is not None]
        self._services += wanted
        try:
            with ThreadPoolExecutor(max(1, len(wanted))) as pool:
                for started in [pool.submit(service.start, timeout) for service in wanted]:
                    started.result()
        except BaseException:
            self.stop()
            raise
        self.addresses = Addresses(
            kafka=broker.address if broker else None,
            redis=cache.url if cache else None,
            mqtt=devices.address if devices else None,
            mqtt_broker=devices.title if devices else None,
        )
        return self

    @property
    def logs(self) -> dict[str, Path]:
        """Log file per service."""
        return {service.title: service.log_path for service in self._services}

    def check(self) -> None:
        """Raise ServiceError when a service has ended by itself since it was started."""
        for service in self._services:
            service.check()

    def stop(self) -> None:
        """Stop all, the last started first."""
        errors: list[str] = []
        while self._services:
            try:
                self._services.pop().stop()
            except OSError as error:
                errors.append(str(error))
        if errors:
            raise ServiceError(f"Not every local service could be stopped: {'; '.join(errors)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
