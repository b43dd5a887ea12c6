"""State larger than memory: the committed rows of a task in RocksDB files (extra ``disk``).

A commit's changes and the place in the changelog are written as one batch, so whatever happens to the process or the
machine, the files hold the state as of some commit together with the place from which the changelog goes on. RocksDB
checks a sum on every block it reads; what does not agree, was written for other tables or another changelog, or is so
old that the changelog may have forgotten deletions since, is thrown away and read back from Kafka.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import rocksdict
import structlog
from confluent_kafka import KafkaException, TopicCollection

from streams.engine import metrics
from streams.engine.cluster import Cluster
from streams.engine.errors import Corrupted, Fatal, classify
from streams.engine.layout import changelog_of
from streams.engine.rows import Gone
from streams.engine.stores import Store, fingerprint

V = TypeVar("V")
log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode
_META = b"\0meta"
_DUE = b"\1"
_CACHE = 64 << 20
"""Bytes of blocks kept in memory, all tasks of the process together; the system's own file cache comes on top."""
_BUFFERS = 64 << 20
"""Bytes of changes that are not in sorted files yet, all tasks of the process together."""
_OLDEST = 12 * 3600
"""Seconds after which files are not trusted: a compacted topic forgets deletions after delete.retention.ms, a day."""


class Marker(msgspec.Struct, frozen=True):
    """What the files are a copy of, and how far it goes."""

    origin: str
    """Changelog topic's id, partition, and fingerprint of the tables."""
    position: int | None
    written: int
    """Seconds since the epoch."""


@cache
def _options() -> Any:
    """RocksDB's options; cache and buffers are shared by all stores of the process."""
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_manager(rocksdict.WriteBufferManager(_BUFFERS, False))
    options.set_write_buffer_size(_BUFFERS // 4)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(rocksdict.Cache(_CACHE))
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


class DiskStores:
    """Opens the stores of one worker: a folder for each partition under ``directory``."""

    keep = True

    def __init__(self, cluster: Cluster, processor: type[Any], directory: Path) -> None:
        self._cluster = cluster
        self._application: str = processor.name
        self.directory = directory
        self._shape = fingerprint(processor)

    def open(self, partition: int) -> Store:
        """The store of a task; empty when what it held cannot be trusted. Raises Fatal and other EngineErrors."""
        origin = f"{self._changelog_id()}/{partition}/{self._shape}"
        return DiskStore(self.directory / str(partition), origin, self._application)

    def _changelog_id(self) -> str:
        topic = self._cluster.named(changelog_of(self._application))
        admin = self._cluster.admin()  # must outlive its futures
        try:
            found = admin.describe_topics(TopicCollection([topic]), request_timeout=15.0)[topic].result()
        except KafkaException as error:
            raise classify(error, f"asking for the id of topic {topic}") from error
        return str(found.topic_id)


class DiskStore:
    """The rows of one task in one RocksDB database."""

    def __init__(self, path: Path, origin: str, application: str) -> None:
        self.position: int | None = None
        self._path = path
        self._origin = origin
        self._application = application
        self._batch: Any = None
        self._broken = False
        try:
            self._db = self._open()
        except Exception as error:
            if "LOCK" in str(error):
                raise Fatal(
                    f"the state files in {path} are in use by another process: stop it, or start this one with another "
                    f"--slot or GRIDTAPE_STATE_DIR ({error})"
                ) from error
            self._distrust(f"they cannot be opened: {error}")
            self._db = self._open()
        self._trust()

    def rows(self, table: str, value: type[V], expires: Callable[[V], int] | None = None) -> DiskRows[V]:
        """The rows of a table."""
        return DiskRows(self, table, value, expires)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One batch: all of it is in the files afterwards, or nothing."""
        self._batch = rocksdict.WriteBatch(raw_mode=True)
        try:
            yield
            self._batch.put(_META, _encode(Marker(self._origin, self.position, int(time.time()))))
            self.talk(lambda: self._db.write(self._batch))
        finally:
            self._batch = None

    def wipe(self) -> None:
        """Delete the files and begin with empty ones."""
        self._db.close()
        self._distrust("their state is not that of the committed offsets")
        self._db = self._open()

    def close(self) -> None:
        """Close the files; delete them when reading them has failed."""
        self._db.close()
        if self._broken:
            self._distrust("reading them failed")

    # --- for the rows ------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        try:
            found: bytes | None = self._db.get(key)
        except Exception as error:
            raise self.broken(error) from error
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value with the batch that is open."""
        self._batch.put(key, value)

    def delete(self, key: bytes) -> None:
        """Remove a key with the batch that is open."""
        self._batch.delete(key)

    def keys(self, low: bytes, high: bytes, reverse: bool = False) -> Iterator[bytes]:
        """Keys of ``low <= key < high`` in order, or in reverse, as they are when the first is taken."""
        found = self.talk(self._db.iter)
        if reverse:
            found.seek_for_prev(high)
            if found.valid() and found.key() == high:
                found.prev()
        else:
            found.seek(low)
        step = found.prev if reverse else found.next
        while found.valid() and low <= (key := found.key()) < high:
            yield key
            step()
        self.talk(found.status)  # an iterator that meets a damaged block just ends

    @property
    def size(self) -> int:
        """Keys of all tables, as RocksDB estimates them: counting would read everything."""
        return int(self.talk(lambda: self._db.property_int_value("rocksdb.estimate-num-keys")) or 0)

    def talk(self, call: Callable[[], Any]) -> Any:
        """The result of a call of RocksDB, all of whose errors are plain Exceptions."""
        try:
            return call()
        except Exception as error:
            raise self.broken(error) from error

    def broken(self, error: Exception) -> Corrupted:
        """The files cannot be read: they are deleted when the store is closed."""
        self._broken = True
        return Corrupted(f"the state files in {self._path} cannot be used: {error}")

    # --- trust -------------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        self._path.mkdir(parents=True, exist_ok=True)
        return rocksdict.Rdict(str(self._path), _options())

    def _trust(self) -> None:
        """Take the marker, or begin anew."""
        try:
            raw = self.get(_META)
            marker = None if raw is None else msgspec.json.decode(raw, type=Marker)
        except (Corrupted, ValueError) as error:
            marker, why = None, f"their marker cannot be read: {error}"
        else:
            why = "" if marker is None else self._doubt(marker)
        if marker is not None and not why:
            self.position = marker.position
        elif why or self.talk(lambda: next(iter(self._db.keys()), None)) is not None:
            self._db.close()
            self._distrust(why or "they have no marker")
            self._db = self._open()

    def _doubt(self, marker: Marker) -> str:
        if marker.origin != self._origin:
            return "they are of another changelog, or of tables with other types"
        if not 0 <= time.time() - marker.written < _OLDEST:
            return f"they were last written more than {_OLDEST // 3600} hours ago"
        return ""

    def _distrust(self, why: str) -> None:
        log.warning("state files thrown away, reading the changelog", path=str(self._path), why=why)
        metrics.wiped.labels(self._application).inc()
        shutil.rmtree(self._path, ignore_errors=True)
        self.position = None
        self._broken = False


class DiskRows(Generic[V]):
    """The rows of one table, decoded as they are read."""

    def __init__(self, store: DiskStore, table: str, value: type[V], expires: Callable[[V], int] | None) -> None:
        self._store = store
        self._decode: Callable[[bytes], V] = msgspec.json.Decoder(value).decode
        self._expires = expires
        self._prefix = f"{table}/".encode()
        self._after = f"{table}0".encode()  # "0" comes after "/"
        self._stale: set[bytes] = set()

    def get(self, key: str, /) -> V | None:
        """The value, or None. Raises Corrupted when the files cannot be read."""
        raw = self._store.get(self._prefix + key.encode())
        if raw is None:
            return None
        try:
            return self._decode(raw)
        except ValueError as error:
            raise self._store.broken(error) from error

    def keys_from(self, start: str, end: str | None, reverse: bool) -> Iterator[str]:
        """Keys in order."""
        cut = len(self._prefix)
        high = self._after if end is None else self._prefix + end.encode()
        return (key[cut:].decode() for key in self._store.keys(self._prefix + start.encode(), high, reverse))

    def apply(self, changes: Mapping[str, V | Gone]) -> None:
        """Take what a transaction has committed, into the batch that is open."""
        for key, value in changes.items():
            self.restore(key, None if isinstance(value, Gone) else value)

    def restore(self, key: str, value: V | None) -> None:
        """Take one record of the changelog, into the batch that is open."""
        if self._expires is not None:
            self._index(key, value, self._expires)
        name = self._prefix + key.encode()
        if value is None:
            self._store.delete(name)
        else:
            self._store.put(name, _encode(value))

    def due(self, until: int) -> Iterator[str]:
        """Keys that expire at ``until`` or before, the earliest first."""
        if self._expires is None:
            return
        head = _DUE + self._prefix
        for row in self._store.keys(head, head + (until + 1).to_bytes(8)):
            key = row[len(head) + 8 :].decode()
            value = self.get(key)
            if value is not None and self._expires(value) <= until:
                yield key
            else:
                self._stale.add(row)  # of a value that was replaced within one batch

    def _index(self, key: str, value: V | None, expires: Callable[[V], int]) -> None:
        head, tail = _DUE + self._prefix, key.encode()
        before = self.get(key)
        if before is not None:
            self._store.delete(head + expires(before).to_bytes(8) + tail)
        while self._stale:
            self._store.delete(self._stale.pop())
        if value is not None:
            self._store.put(head + expires(value).to_bytes(8) + tail, b"")
