"""Records of any topic to Parquet files, each record once, whatever happens on the way."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import topics as all_topics
from schemas.base import LATEST_TIME
from schemas.topics import Topic
from sinks.columns import row_of, schema_of
from sinks.config import ParquetConfig
from sinks.sink import Delivery, Refused, Unavailable

_NAME = re.compile(r"p(\d+)-(\d+)-(\d+)-(\d+)-(\d+)\.parquet")
_TEMPORARY = ".writing-"
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Covered:
    """What one file holds: offsets and Kafka timestamps (microseconds), each from first to last."""

    partition: int
    first: int
    last: int
    earliest: int
    latest: int

    def holds(self, delivery: Delivery) -> bool:
        # The time tells a repeat from a topic that was deleted and made anew, whose offsets begin at 0 again.
        at = delivery.at
        return (
            at.partition == self.partition
            and self.first <= at.offset <= self.last
            and self.earliest <= delivery.time <= self.latest
        )

    @property
    def name(self) -> str:
        return f"p{self.partition}-{self.first:020}-{self.last:020}-{self.earliest}-{self.latest}.parquet"

    @classmethod
    def read(cls, name: str) -> _Covered | None:
        found = _NAME.fullmatch(name)
        return cls(*map(int, found.groups())) if found else None


class Parquet:
    """Files ``FOLDER/topic=TOPIC/date=YYYY-MM-DD/pN-FIRST-LAST-….parquet``, the date by Kafka's timestamp in UTC.

    The files themselves are the record of what is written: their names hold the offsets. A record that comes again
    after a crash is found in them and not written twice. A file appears whole (written aside, flushed to disk,
    renamed) or not at all.
    """

    name = "parquet"
    attempts: int | None = None

    def __init__(self, config: ParquetConfig) -> None:
        known = all_topics.BY_NAME
        if unknown := [name for name in config.topics if name not in known]:
            raise ValueError(f"parquet: no topic {', '.join(unknown)}; there are {', '.join(known)}")
        self.topics: tuple[Topic[Any], ...] = tuple(known[name] for name in dict.fromkeys(config.topics))
        self.batch_rows = config.rows
        self.batch_seconds = config.seconds
        self._folder = config.folder

    def handle(self, batch: list[Delivery], _stop: threading.Event) -> None:
        """Write one file per topic, date and partition. Raises Unavailable when the disk does not take it."""
        groups: dict[tuple[str, str, int], list[Delivery]] = {}
        for delivery in batch:
            groups.setdefault((delivery.topic.name, _date(delivery.time), delivery.at.partition), []).append(delivery)
        try:
            for (topic, date, _partition), group in groups.items():
                folder = self._folder / f"topic={topic}" / f"date={date}"
                folder.mkdir(parents=True, exist_ok=True)
                written = _written(folder)
                if news := [one for one in group if not any(file.holds(one) for file in written)]:
                    _write(folder, news)
        except OSError as error:
            raise Unavailable(f"{error.filename or self._folder}: {error.strerror or error}") from error


def _date(micros: int) -> str:
    # A producer's clock may say anything; years beyond 2099 have one folder.
    return datetime.fromtimestamp(min(micros, LATEST_TIME) // 1_000_000, UTC).date().isoformat()


def _written(folder: Path) -> list[_Covered]:
    """What the files in ``folder`` hold; leftovers of a crash are removed."""
    found = []
    for entry in os.scandir(folder):
        if covered := _Covered.read(entry.name):
            found.append(covered)
        elif entry.name.startswith(_TEMPORARY) and entry.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
            Path(entry).unlink(missing_ok=True)
    return found


def _write(folder: Path, deliveries: list[Delivery]) -> None:
    table = _table(deliveries)
    times = [one.time for one in deliveries]
    at = deliveries[0].at
    covered = _Covered(at.partition, at.offset, deliveries[-1].at.offset, min(times), max(times))
    handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.rename(folder / covered.name)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(folder)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _table(deliveries: list[Delivery]) -> pa.Table:
    schema = schema_of(deliveries[0].topic.record)  # type: ignore[arg-type]
    rows = [_row(one, schema) for one in deliveries]
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        for delivery, row in zip(deliveries, rows, strict=True):
            _check(delivery, [row], schema)
        raise Unavailable(f"{deliveries[0].topic.name} cannot be written as a table: {error}") from error


def _check(delivery: Delivery, row: Iterable[dict[str, Any]], schema: pa.Schema) -> None:
    try:
        pa.Table.from_pylist(list(row), schema=schema)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise Refused(f"it does not fit the columns: {error}", delivery) from error


def _row(delivery: Delivery, schema: pa.Schema) -> dict[str, Any]:
    at = delivery.at
    row = row_of(delivery.record, schema)
    row.update(kafka_partition=at.partition, kafka_offset=at.offset, kafka_time=delivery.time, kafka_key=delivery.key)
    return row
