"""A publisher with a disk behind it: memory, then disk, then no more; and back again in the same order.

While Kafka acknowledges, records go straight to the publisher and a copy is kept until they are acknowledged. When the
oldest has waited too long, everything that waits is written to the store, and from then on everything that comes. Once
Kafka takes records again the store is emptied in order, at most ``_WINDOW`` records ahead of the acknowledgements, so
that there is always room for devices that have nothing in the store: they go straight through. A device with records in
the store follows behind them, and straight again as soon as its last one has been sent.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import msgspec
import structlog

from connectors import clock, letters, metrics
from connectors.connector import Backoff
from connectors.outlet import Done, Full, R, Raw, Waiting
from connectors.publisher import Publisher
from connectors.repeats import Repeats
from connectors.spool.config import StoreConfig
from connectors.spool.store import Row, Store, StoreFull
from schemas import topics
from schemas.base import Record
from schemas.cloudevents import Header
from schemas.devices import Storage
from schemas.topics import Topic

log = structlog.get_logger(__name__)
_WINDOW = 20_000  # records of the store on their way to Kafka at a time: a fifth of the publisher's room
_BATCH = 1_000  # rows per transaction: a sync costs as much as some hundred rows
_ROUND_SECONDS = 0.05


class Forwarder:
    """The outlet of field devices. Thread-safe, never blocks, keeps the order of calls per key.

    It answers for a record as soon as it has taken it: ``done`` is called at once. ``name``: the connector.
    """

    def __init__(self, publisher: Publisher, store: Store, config: StoreConfig, name: str) -> None:
        self._publisher = publisher
        self._store = store
        self._name = name
        self._after = config.after / 1e6
        self._most_incoming = config.memory_records
        self._lock = threading.Lock()
        # Ids say the order. Sent to the publisher and not acknowledged: those with a copy in memory, with the time of
        # sending, and those that are on disk. What has not been sent: in ``_incoming``, or on disk above ``_cursor``.
        self._direct: dict[int, tuple[Row, float]] = {}
        self._from_disk: dict[int, float] = {}
        self._incoming: deque[Row] = deque()
        self._cursor = 0
        self._last_on_disk = store.last_id
        self._next_id = self._last_on_disk + 1
        self._unsent: Counter[str] = store.per_key()  # by key; a key that is not in it may be sent straight
        self._skip: set[int] = set()  # ids on disk above the cursor that were sent before they were written there
        self._arrived: deque[int] = deque()  # ids that can leave the disk
        self._failed = False
        self._storing = False
        self._full = ""
        self._stop = threading.Event()
        self._backoff = Backoff(self._stop, first=0.2, ceiling=10.0)
        self._resend_at = 0.0
        if store.count:
            log.info("records of an earlier run wait on disk and go first", connector=name, records=store.count)
        self._tell()
        self._thread = threading.Thread(target=self._work, name=f"forwarder-{name}", daemon=True)

    def start(self) -> None:
        """Begin to forward, in a thread of its own."""
        self._thread.start()

    def publish(
        self,
        topic: Topic[R],
        key: str,
        record: R,
        *,
        event_id: str,
        done: Done | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        """As :meth:`connectors.outlet.Outlet.publish`. Raises ValueError for ``headers``: none are kept on disk."""
        if headers:
            raise ValueError("records that may wait on disk have no headers of their own")
        try:
            payload = letters.checked(topic, record)
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            reason = f"not a valid {topic.kind}: {error}"
            letter = letters.of_record(application=self._name, topic=topic, key=key, record=record, reason=reason)
            self.publish(topics.dead_letters, self._name, letter, event_id=letter.letter_id, done=done)
            return
        with self._lock:
            row = Row(self._next_id, topic.name, key, event_id, payload)
            if self._storing or self._failed or self._unsent[key] or not self._send(topic, record, row):
                if len(self._incoming) >= self._most_incoming:
                    raise Full(self._full or f"{len(self._incoming)} records wait in memory to be written to disk")
                self._incoming.append(row)
                self._unsent[key] += 1
            self._next_id += 1
        if done is not None:
            done(None)

    def dead_letter(
        self,
        *,
        source: str,
        reason: str,
        raw: bytes,
        key: str | None = None,
        receive_time: int,
        done: Done | None = None,
    ) -> None:
        """As :meth:`connectors.outlet.Outlet.dead_letter`."""
        letter = letters.dead_letter(
            application=self._name, source=source, reason=reason, raw=raw, key=key, receive_time=receive_time
        )
        self.publish(topics.dead_letters, self._name, letter, event_id=letter.letter_id, done=done)

    def wait_for_room(self, stop: threading.Event) -> bool:
        """As :meth:`connectors.outlet.Outlet.wait_for_room`."""
        while len(self._incoming) > self._most_incoming // 2 and not stop.is_set():
            stop.wait(_ROUND_SECONDS)
        return not stop.is_set()

    def flush(self, timeout: float) -> int:
        """As :meth:`connectors.outlet.Outlet.flush`; what waits on disk counts."""
        deadline = time.monotonic() + timeout
        while (waiting := self._count()) and time.monotonic() < deadline:
            self._stop.wait(0.01)
        return waiting

    def waiting(self) -> Waiting:
        """As :meth:`connectors.outlet.Outlet.waiting`."""
        count = self._count()
        if self._rests:
            return Waiting(Storage.PAUSED, count, self._full)
        if self._store.count:
            why = "Kafka does not acknowledge" if self._storing else "Kafka is back and gets what has waited, in order"
            return Waiting(Storage.DISK, count, why)
        if self._incoming:
            return Waiting(Storage.MEMORY, count, "the way to Kafka is full")
        return Waiting(Storage.DIRECT, count)

    def seen(self, device: str, point: str, raw: Raw) -> None:
        """Nobody looks at the source's bytes here."""

    def close(self, timeout: float = 3.0) -> None:
        """Give Kafka ``timeout`` seconds for what is on its way, keep the rest on disk, and close both."""
        self._publisher.flush(timeout)
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10.0)
        left = 0
        try:
            self._forget_arrived()
            self._keep_everything()
            left = self._store.count
        except StoreFull as full:
            log.critical("records are lost: they could not be kept", connector=self._name, why=str(full))
        finally:
            self._publisher.close(0.0)
            self._store.close()
        if left:
            log.info("records wait on disk for the next start", connector=self._name, records=left)

    # --- sending, with the lock held -----------------------------------------------------------------------------

    def _send(self, topic: Topic[R], record: R, row: Row) -> bool:
        """Hand ``row`` to the publisher, with its copy in memory until it is acknowledged; false: no room."""
        self._direct[row.id] = (row, time.monotonic())
        try:
            settled = partial(self._settled_direct, row.id)
            self._publisher.publish(topic, row.key, record, event_id=row.event_id, done=settled)
        except Full:
            del self._direct[row.id]
            return False
        return True

    def _settled_direct(self, number: int, error: str | None) -> None:
        # In the publisher's thread, without the lock. A row that failed stays: it is kept on disk and sent again.
        if error is None:
            self._direct.pop(number, None)
            self._arrived.append(number)
        else:
            self._failed = True

    def _settled_disk(self, number: int, error: str | None) -> None:
        self._from_disk.pop(number, None)
        if error is None:
            self._arrived.append(number)
        else:
            self._failed = True

    # --- the forwarder's own thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        told, repeats = 0.0, Repeats()
        while not self._stop.wait(_ROUND_SECONDS):
            try:
                self.round()
            except Exception as error:
                # This thread keeps every device's records: whatever failed, the next round tries again.
                if (again := repeats.again(type(error).__name__, str(error))) is not None:
                    log.exception("forwarding failed and is tried again", connector=self._name, **again)
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                self._tell()

    def round(self) -> None:
        """One round of the forwarder's thread: keep, forward and forget what is due."""
        try:
            self._work_through()
        except StoreFull as full:
            if not self._full:
                log.critical("no more room on disk; sources will rest", connector=self._name, why=str(full))
            self._full = str(full)
        else:
            self._full = ""

    def _work_through(self) -> None:
        now = time.monotonic()
        sent = [*islice((at for _, at in list(self._direct.values())), 1), *islice(list(self._from_disk.values()), 1)]
        storing = self._failed or now - min(sent, default=now) > self._after
        if storing and not self._storing:
            log.warning("Kafka does not acknowledge; records are kept on disk", connector=self._name)
        self._storing = storing
        self._forget_arrived()
        if self._failed:
            self._begin_again()
        if storing:
            self._keep_everything()
        elif now >= self._resend_at:
            self._forward()

    def _keep_everything(self) -> None:
        """Write to disk what has been sent and not acknowledged, and what has come since."""
        with self._lock:
            sent = [row for row, _ in list(self._direct.values())]
        for start in range(0, len(sent), _BATCH):
            rows = sent[start : start + _BATCH]
            self._store.append(rows)
            self._skip.update(row.id for row in rows if row.id > self._cursor)
            with self._lock:
                # From now on these are rows of the disk that are on their way.
                for row in rows:
                    if (copy := self._direct.pop(row.id, None)) is not None and not self._failed:
                        self._from_disk[row.id] = copy[1]
        self._keep_incoming()

    def _keep_incoming(self) -> None:
        for _ in range(-(-len(self._incoming) // _BATCH)):
            rows = list(islice(self._incoming, _BATCH))
            self._store.append(rows)
            with self._lock:
                for _row in rows:
                    self._incoming.popleft()
                self._last_on_disk = rows[-1].id

    def _begin_again(self) -> None:
        """Something that was sent has failed: once nothing is on its way any more, all is sent again in order."""
        if self._publisher.flush(0.0):
            return
        self._keep_everything()
        self._from_disk.clear()
        self._skip.clear()
        self._forget_arrived()
        with self._lock:
            self._cursor = 0
            self._last_on_disk = self._store.last_id
            self._unsent = self._store.per_key() + Counter(row.key for row in self._incoming)
            self._failed = False
        self._resend_at = time.monotonic() + self._backoff.next_delay()

    def _forward(self) -> None:
        """Send what waits on disk, oldest first, and then what waits in memory."""
        while self._cursor < self._last_on_disk and len(self._from_disk) < _WINDOW:
            rows = self._store.after(self._cursor, self._last_on_disk, min(_BATCH, _WINDOW - len(self._from_disk)))
            for row in rows:
                if not self._send_from_disk(row):
                    return
            if not rows:
                self._cursor = self._last_on_disk
        if self._cursor < self._last_on_disk:
            self._keep_incoming()
            return
        with self._lock:
            while self._incoming:
                row = self._incoming[0]
                if not self._send(*_record(row, self._name), row):
                    return
                self._incoming.popleft()
                self._sent(row.key)

    def _send_from_disk(self, row: Row) -> bool:
        with self._lock:
            if row.id in self._skip:
                self._skip.discard(row.id)
                self._cursor = row.id
                return True
            self._from_disk[row.id] = time.monotonic()
            try:
                topic, record = _record(row, self._name)
                settled = partial(self._settled_disk, row.id)
                self._publisher.publish(topic, row.key, record, event_id=row.event_id, done=settled)
            except Full:
                del self._from_disk[row.id]
                return False
            self._cursor = row.id
            self._sent(row.key)
        return True

    def _sent(self, key: str) -> None:
        self._unsent[key] -= 1
        if self._unsent[key] <= 0:
            del self._unsent[key]

    def _forget_arrived(self) -> None:
        if not self._arrived:
            return
        ids = [self._arrived.popleft() for _ in range(len(self._arrived))]
        for one in ids:
            self._from_disk.pop(one, None)
        self._backoff.reset()
        if not self._store.count:
            return
        try:
            self._store.remove(ids)
        except StoreFull:
            # A disk so full that nothing can even be removed: forwarding goes on, and this is tried again.
            self._arrived.extend(ids)

    @property
    def _rests(self) -> bool:
        return bool(self._full) and len(self._incoming) >= self._most_incoming

    def _count(self) -> int:
        return self._store.count + len(self._incoming) + len(self._direct)

    def _tell(self) -> None:
        metrics.DISK_RECORDS.labels(self._name).set(self._store.count)
        metrics.DISK_BYTES.labels(self._name).set(self._store.size if self._store.count else 0)
        metrics.PAUSED.labels(self._name).set(self._rests)


def _record(row: Row, application: str) -> tuple[Topic[Any], Record]:
    """The record that a row was made of; a row that an older or newer version wrote may have become unreadable."""
    try:
        topic = topics.BY_NAME[row.topic]
        return topic, topic.decode(row.payload)
    except (KeyError, msgspec.MsgspecError) as error:
        letter = letters.dead_letter(
            application=application,
            source=f"{application}:{row.topic}",
            reason=f"what waited on disk cannot be read any more: {error}",
            raw=row.payload,
            key=row.key,
            receive_time=clock.now(),
        )
        return topics.dead_letters, letter
