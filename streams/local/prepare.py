"""Gets what the local Kafka needs before it is needed: ``python -m streams.local.prepare``.

The archives are downloaded, and a broker runs once, observed by its JVM, which keeps what it has loaded, linked and
compiled for all later starts (:func:`streams.local.jvm.start_cache`). Takes 12 s, once.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.local import jars, jvm
from streams.local.errors import ServiceError
from streams.local.kafka import CLIENT_QUIET, Kafka
from streams.local.progress import Progress

_SECONDS = 30.0


class _Observed(Kafka):
    """A broker whose JVM writes ``cache`` as it ends, which takes a while."""

    def __init__(self, folder: Path, cache: Path) -> None:
        super().__init__(folder)
        self._into = cache

    def command(self) -> list[str]:
        java, *rest = super().command()
        return [java, f"-XX:AOTCacheOutput={self._into}", "-Xlog:aot*=off", *rest]

    def stop(self, patience: float = 120.0) -> None:
        super().stop(patience)


def prepare(progress: Progress | None = None) -> Path:
    """The file with a broker's start, made now if it is not there.

    Raises ServiceError when Kafka cannot be had or does not run.
    """
    progress = progress or Progress()
    archives = jars.class_path(progress)
    cache = jvm.start_cache(archives)
    if cache.is_file():
        return cache
    part = cache.with_suffix(f".{os.getpid()}.part")
    try:
        with tempfile.TemporaryDirectory() as folder, _Observed(Path(folder), part) as broker:
            _use(broker.address)
        for other in cache.parent.glob("start-*.aot"):
            other.unlink(missing_ok=True)  # of another version of Java
        part.replace(cache)
    except OSError as error:
        raise ServiceError(f"The start of Apache Kafka cannot be kept in {cache.parent}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)
    return cache


def _use(address: str) -> None:
    """What every user does first."""
    try:
        admin = AdminClient({"bootstrap.servers": address, **CLIENT_QUIET})
        admin.create_topics([NewTopic("first", 1, 1)])["first"].result(_SECONDS)
        producer = Producer({"bootstrap.servers": address, "transactional.id": "first", **CLIENT_QUIET})
        producer.init_transactions(_SECONDS)
        producer.begin_transaction()
        producer.produce("first", b"value")
        producer.commit_transaction(_SECONDS)
    except KafkaException as error:
        raise ServiceError(f"Apache Kafka runs, but does not take a record: {error}") from error


if __name__ == "__main__":
    try:
        prepare()
    except ServiceError as error:
        sys.exit(str(error))
