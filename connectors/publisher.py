"""The way into Kafka for all connectors: nothing is confirmed to a source before Kafka has acknowledged it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors import letters, metrics
from connectors.connector import Backoff
from connectors.deliveries import Deliveries, Lane, Report
from connectors.outlet import Done, Full, R, Raw, Waiting
from connectors.repeats import Seldom
from schemas import cloudevents, topics
from schemas.dead_letters import DeadLetter
from schemas.devices import Storage
from schemas.topics import Topic
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)
__all__ = ["Done", "Full", "Publisher"]

# Room in librdkafka's own queue beyond max_outstanding, for dead letters of records that were already let in.
_HEADROOM = 10_000
_QUEUE_KBYTES = 131_072
_TELL_SECONDS = 0.25
# Reports are taken by whoever publishes, every so many records, if so many are on their way: librdkafka hands each over
# by itself, and for each the poll thread would have to win the interpreter from the one that publishes.
_TOGETHER = 64
_REST_SECONDS = 0.005  # of the poll thread, while others take the reports
_PATIENCE_SECONDS = 0.002  # with the poll thread, which may be taking reports itself


class Publisher:
    """Thread-safe, never blocks, keeps the order of calls per key. One per connector.

    ``application`` is the connector's name: the label in metrics, the key of its dead letters and, as
    ``connectors/{application}``, the CloudEvents source. At most ``max_outstanding`` records wait for Kafka in memory;
    they wait as long as Kafka is away, because giving up on them would lose them.

    ``done`` is called once from the poll thread: with None when the record, or the dead letter that stands for it, is
    in Kafka; otherwise with what went wrong. It must be quick and must not raise or wait for this publisher.
    """

    def __init__(self, cluster: Cluster, application: str, *, max_outstanding: int = 100_000) -> None:
        if max_outstanding < 1:
            raise ValueError(f"max_outstanding is {max_outstanding}; expected at least 1")
        self._cluster = cluster
        self._application = application
        self._source = f"connectors/{application}"
        self._limit = max_outstanding
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # Each counter is written by one side: with the lock, with the polling lock, in the poll thread.
        self._taken = self._passed = self._settled = 0
        self._polling = threading.Lock()
        self._helped = False
        self._deliveries = Deliveries(cluster, application, self._refused)
        self._lanes = self._deliveries.lanes
        self._closed = False
        self._broken = False
        self._late: deque[Callable[[], None]] = deque()  # what a delivery report leaves to the poll thread's next round
        self._stop = threading.Event()
        self._producer = self._connect()
        self._thread = threading.Thread(target=self._poll, name=f"publisher-{application}", daemon=True)
        self._thread.start()

    @property
    def outstanding(self) -> int:
        """Records handed over and not yet settled."""
        return self._taken - self._passed - self._settled

    def publish(
        self,
        topic: Topic[R],
        key: str,
        record: R,
        *,
        event_id: str,
        done: Done | None = None,
        headers: Sequence[cloudevents.Header] = (),
    ) -> None:
        """Hand ``record`` over. ``event_id`` becomes ``ce_id`` and must come from the source's own data.

        ``headers`` follow those of CloudEvents.

        A record that breaks its own contract or is too large for Kafka becomes a dead letter. Raises :class:`Full`
        when there is no room or the publisher is closed, and then nothing has happened.
        """
        if isinstance(record, DeadLetter):
            self._send_letter(record, done)
            return
        try:
            payload = letters.checked(topic, record)
            event_time: int = getattr(record, "event_time")  # noqa: B009 - every topic's record has one
            every = cloudevents.headers(topic.kind, self._source, event_id, event_time)
            if headers:
                every += headers
            raw_key = key.encode()
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            self._send_letter(self._letter(topic, key, record, f"not a valid {topic.kind}: {error}"), done)
            return

        self._send(self._lanes[topic.name], raw_key, payload, every, done)

    def _letter(self, topic: Topic[R], key: str, record: R, reason: str) -> DeadLetter:
        return letters.of_record(application=self._application, topic=topic, key=key, record=record, reason=reason)

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
        """Put aside what could not become a record. ``source`` is its address, for example ``mqtt:plants/b1/soc``.

        ``receive_time``: microseconds. The same source, bytes and time give the same id. Raises as :meth:`publish`.
        """
        letter = letters.dead_letter(
            application=self._application, source=source, reason=reason, raw=raw, key=key, receive_time=receive_time
        )
        self._send_letter(letter, done)

    def wait_for_room(self, stop: threading.Event) -> bool:
        """Wait until half of the room is free again; false when ``stop`` was set first.

        Half, because a caller that wakes for every single slot wrestles with the poll thread for the interpreter.
        """
        with self._changed:
            while (self.outstanding > self._limit // 2 or self._broken) and not stop.is_set() and not self._closed:
                self._changed.wait(0.1)
        return not stop.is_set()

    def waiting(self) -> Waiting:
        """What is on its way is not said to wait; there is room in memory until it is full."""
        full = self.outstanding >= self._limit or self._broken
        reason = f"Kafka at {self._cluster.bootstrap} takes no records" if full else ""
        return Waiting(Storage.MEMORY if full else Storage.DIRECT, self.outstanding, reason)

    def seen(self, device: str, point: str, raw: Raw) -> None:
        """Nobody looks at the source's bytes here."""

    def flush(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds until everything is settled; how many records are not."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while self.outstanding and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return self.outstanding

    def close(self, timeout: float = 3.0) -> None:
        """Flush, then give up what Kafka has not taken within ``timeout`` seconds: its ``done`` gets the error."""
        left = self.flush(timeout)
        with self._changed:
            if self._closed:
                return
            self._closed = True
        if left:
            log.warning(
                "closing with records that Kafka has not acknowledged; sources that wait for it will send them again",
                connector=self._application,
                records=left,
                bootstrap=self._cluster.bootstrap,
            )
            self._producer.purge()
            self.flush(1.0)
        self._stop.set()
        self._thread.join(5.0)
        if self._producer.flush(0) == 0:  # otherwise it would wait
            self._producer.close()  # its threads would go on until garbage is collected
        metrics.SPOOL.remove(self._application)

    def _connect(self) -> Producer:
        return self._cluster.publisher(
            message_timeout_ms=0,
            queue_buffering_max_messages=self._limit + _HEADROOM,
            queue_buffering_max_kbytes=_QUEUE_KBYTES,
            reconnect_backoff_max_ms=2000,
            client_id=self._source.replace("/", "-"),
            logger=Seldom("Kafka", connector=self._application),
        )

    def _send(
        self,
        lane: Lane,
        key: bytes,
        payload: bytes,
        headers: list[cloudevents.Header],
        done: Done | None,
        *,
        replaces: bool = False,
    ) -> None:
        """``replaces``: the record was let in already and only changes its shape; no bound applies to it."""
        report = lane.report if done is None else self._asked(lane, done)
        with self._lock:
            if self._closed and not replaces:
                raise Full(f"the publisher of {self._application} is closed")
            waiting = self._taken - self._passed - self._settled
            if not replaces and waiting >= self._limit:
                raise Full(f"{waiting} records wait for Kafka at {self._cluster.bootstrap}")
            if self._broken:
                raise Full(f"the connection to Kafka at {self._cluster.bootstrap} is being made anew")
            # Before the record can be settled.
            self._taken += not replaces
            try:
                self._producer.produce(lane.name, payload, key, on_delivery=report, headers=headers)
            except BufferError:
                self._taken -= not replaces
                raise Full(f"librdkafka's queue is full with {self.outstanding} records") from None
            except KafkaException as raised:
                error: KafkaError = raised.args[0]
                if error.fatal():
                    self._taken -= not replaces
                    self._broken = True
                    raise Full(f"the connection to Kafka at {self._cluster.bootstrap} is being made anew") from raised
                self._late.append(partial(self._settle, lane, done, error, key, payload))
        if waiting >= _TOGETHER and self._taken % _TOGETHER == 0:
            self._help()

    def _send_letter(self, letter: DeadLetter, done: Done | None, *, replaces: bool = False) -> None:
        topic = topics.dead_letters
        self._send(
            self._lanes[topic.name],
            self._application.encode(),
            topic.encode(letter),
            cloudevents.headers(topic.kind, self._source, letter.letter_id, letter.event_time),
            done,
            replaces=replaces,
        )
        self._deliveries.put_aside(letter)

    # --- delivery reports: with the polling lock held, in any thread that publishes ----------------------------------

    def _asked(self, lane: Lane, done: Done) -> Report:
        """The report of a record whose source wants to know."""

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._late.append(partial(self._settle, lane, done))
            else:
                self._refused(lane, error, message, done)

        return report

    def _refused(self, lane: Lane, error: KafkaError, message: Message, done: Done | None = None) -> None:
        self._late.append(partial(self._settle, lane, done, error, message.key() or b"", message.value() or b""))

    def _help(self) -> None:
        """Take the reports that are there."""
        if self._polling.acquire(timeout=_PATIENCE_SECONDS):
            try:
                self._reports(0.0)
                self._helped = True
            finally:
                self._polling.release()

    def _reports(self, timeout: float) -> None:
        """Take reports, and wait for the first at most ``timeout`` seconds."""
        self._producer.poll(timeout)
        before = self.outstanding
        self._passed = self._deliveries.passed
        self._tell_waiting(before)

    def _tell_waiting(self, before: int) -> None:
        now = self.outstanding
        if now < before and (now == 0 or now <= self._limit // 2 < before):
            with self._changed:
                self._changed.notify_all()

    # --- the poll thread --------------------------------------------------------------------------------------------

    def _settle(
        self, lane: Lane, done: Done | None, error: KafkaError | None = None, key: bytes = b"", payload: bytes = b""
    ) -> None:
        """One record is done with. ``key`` and ``payload``: of one that Kafka did not take."""
        if error is not None:
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and lane.topic is not topics.dead_letters:
                topic = lane.topic
                reason = f"too large: with its headers more than Kafka takes on {topic.name} (max.message.bytes)"
                letter = self._letter(topic, key.decode(), topic.decode(payload), reason)
                self._send_letter(letter, done, replaces=True)
                return
            self._deliveries.failed(lane, f"{error.name()}: {error.str()}")
            self._broken = self._broken or error.fatal()
        else:
            lane.settled += 1
        try:
            if done is not None:
                done(None if error is None else f"{error.name()}: {error.str()}")
        finally:
            before = self.outstanding
            self._settled += 1
            self._tell_waiting(before)

    def _poll(self) -> None:
        """Takes the reports that nobody else takes, finishes what they ask for, tells metrics and log of it."""
        backoff = Backoff(self._stop, first=0.2, ceiling=10.0)
        told, arrived = 0.0, 0
        while not self._stop.is_set():
            try:
                if self._helped:
                    self._helped = False
                    self._stop.wait(_REST_SECONDS)
                else:
                    with self._polling:
                        self._reports(0.0 if self._late else 0.1)  # what others took waits for this thread
                self._finish_late()
                if self._broken:
                    backoff.wait()
                    self._replace()
                elif self._passed + self._settled > arrived:
                    arrived = self._passed + self._settled
                    backoff.reset()
            except Exception:
                # This thread serves every source: a callback that fails must not end it.
                log.exception("a delivery callback failed", connector=self._application)
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                self._deliveries.tell(self.outstanding)
        self._deliveries.tell(self.outstanding)

    def _finish_late(self) -> None:
        for _ in range(len(self._late)):
            finish = self._late.popleft()
            try:
                finish()
            except Full:
                self._late.append(finish)

    def _replace(self) -> None:
        """After a fatal error librdkafka's producer is of no use: its records fail, and a new one takes over."""
        log.error("the Kafka producer failed for good and is replaced", connector=self._application)
        with self._polling:
            self._producer.purge()
            self._producer.flush(1.0)
            self._reports(0.0)
        with self._lock:
            self._producer = self._connect()
            self._broken = False
