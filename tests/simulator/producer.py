"""A transactional producer as librdkafka 2.16 behaves (rdkafka_txnmgr.c, rdkafka_request.c), with its errors and flags.

Kept: which errors are fatal (fenced: ``_FENCED``), which require an abort, which are retriable; after a call has timed
out, every other call is a ``_CONFLICT`` while the first goes on in the background; send_offsets_to_transaction that
never returns (issues 5456, 5511); a new epoch after messages were given up; a call that comes back with the broker's
outcome unknown. Simplified: records are sent when offsets or the commit are, not in between; one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from tests.simulator.broker import Broker, Place, Record
from tests.simulator.network import Network, Refused, TimedOut
from tests.simulator.scheduler import Process

Report = Callable[[Any, Any], None]
_FENCED = {KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED}


class Hanging(Exception):
    """The call never returns by itself; the helper that made it gives it up."""


class SimProducer:
    """``confluent_kafka.Producer`` of one process."""

    def __init__(self, process: Process, network: Network, broker: Broker, config: dict[str, Any]) -> None:
        self._process = process
        self._network = network
        self._broker = broker
        self._name: str = config["transactional_id"]
        self._transaction_timeout = config["transaction_timeout_ms"] / 1000
        self._message_timeout = config["message_timeout_ms"] / 1000
        self._pid = (-1, -1)
        self._queue: dict[Place, list[Record]] = {}
        self._unacknowledged: dict[Place, tuple[int, list[Record]]] = {}
        self._reports: dict[int, Report] = {}
        self._delivered: list[tuple[Report, int]] = []
        self._sequence = 0
        self._queued_at = 0.0
        self._number = 0
        self._registered: set[Place] = set()
        self._used = False
        self._failed = False
        self._current = ""
        self._fatal: KafkaError | None = None
        self._abortable: KafkaError | None = None

    # --- the interface -----------------------------------------------------------------------------------------

    def init_transactions(self, timeout: float = -1) -> None:
        self._begin("init_transactions")
        self._pid = self._ask("txn", "InitProducerId", self._initialise, timeout)
        self._current = ""

    def begin_transaction(self) -> None:
        self._begin("begin_transaction")
        self._current = ""
        self._used = self._failed = False
        self._registered = set()

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        headers: Any = None,
        on_delivery: Report | None = None,
    ) -> None:
        self._process.check()
        self._number += 1
        if on_delivery is not None:
            self._reports[self._number] = on_delivery
        self._queued_at = self._process.scheduler.now
        self._queue.setdefault((topic, partition), []).append((self._number, key, value, headers))

    def send_offsets_to_transaction(self, positions: list[TopicPartition], metadata: Any, timeout: float = -1) -> None:
        rng, rates = self._process.scheduler.rng, self._network.rates
        self._begin("send_offsets_to_transaction")
        if self._queue and rng.random() < 0.5:
            self._flush(0.2, share=rng.random())
        offsets = {(tp.topic, tp.partition): (tp.offset, tp.metadata) for tp in positions}
        member, instance, generation = metadata
        name, pid = self._name, self._pid

        def put() -> None:
            self._broker.verify_offsets(name, pid)
            self._broker.group.commit(pid, member, instance, generation, offsets)

        self._used = True
        self._ask("txn", "AddOffsetsToTxn", lambda: self._broker.add(name, pid, [], offsets=True), timeout)
        if rng.random() < rates.hang:
            self._process.scheduler.note(self._process.name, "hangs in", "TxnOffsetCommit")
            self._process.at(rng.random() * 8, lambda: self._send_anyway("TxnOffsetCommit", put))
            raise Hanging
        try:
            self._network.call(self._process, "offsets", f"TxnOffsetCommit {offsets}", put, timeout)
        except Refused as refused:
            if refused.code in _FENCED or refused.code == KafkaError.INVALID_TXN_STATE:
                raise self._die(refused.code) from refused
            raise self._require_abort(refused.code, "Failed to commit offsets to transaction") from refused
        except TimedOut as late:
            if rng.random() < 0.5:
                raise self._unknown() from late
            raise self._require_abort(KafkaError._TIMED_OUT, "Failed to commit offsets to transaction") from late
        self._current = ""

    def commit_transaction(self, timeout: float = -1) -> None:
        self._begin("commit_transaction")
        clock = self._process.scheduler
        deadline = clock.now + timeout
        if self._abortable is not None:
            self._current = ""
            raise KafkaException(self._abortable)
        self._flush(timeout)
        self._report()
        if self._failed:
            raise self._require_abort(KafkaError._INCONSISTENT, "message(s) failed delivery")
        if self._queue or self._unacknowledged:
            raise self._unknown()
        if self._used:
            name, pid = self._name, self._pid
            effect: Callable[[], None] = lambda: self._broker.end(name, pid, commit=True)  # noqa: E731
            try:
                self._network.call(self._process, "txn", "EndTxn commit", effect, max(0.01, deadline - clock.now))
            except Refused as refused:
                raise self._die(refused.code) from refused
            except TimedOut as late:
                # It goes on trying in the background.
                self._process.at(clock.rng.random(), lambda: self._send_anyway("EndTxn commit", effect))
                raise self._unknown() from late
        self._current = ""

    def abort_transaction(self, timeout: float = -1) -> None:
        self._begin("abort_transaction")
        lost = self._failed or bool(self._unacknowledged)
        self._report()
        self.purge()
        name, pid = self._name, self._pid
        if self._used:
            self._ask("txn", "EndTxn abort", lambda: self._broker.end(name, pid, commit=False), timeout)
        if lost:
            # Batches may still be on their way: only a new epoch keeps them out of the next transaction.
            self._pid = self._ask("txn", "InitProducerId", lambda: self._initialise(pid), timeout)
        self._current = ""
        self._abortable = None
        self._used = self._failed = False

    def purge(self) -> None:
        self._process.check()
        self._queue.clear()
        self._unacknowledged.clear()
        self._reports.clear()

    def poll(self, timeout: float = -1) -> int:
        self._process.wait(timeout)
        return 0

    def __len__(self) -> int:
        return sum(map(len, self._queue.values()))

    # --- inside ------------------------------------------------------------------------------------------------

    def _initialise(self, known: tuple[int, int] | None = None) -> tuple[int, int]:
        return self._broker.init(self._name, self._transaction_timeout, known)

    def _begin(self, call: str) -> None:
        self._process.check()
        if self._fatal is not None:
            raise KafkaException(self._fatal)
        if self._current not in ("", call):
            text = f"Conflicting {self._current} API call is already in progress"
            raise KafkaException(KafkaError(KafkaError._CONFLICT, text, False, True, False))
        self._current = call

    def _ask(self, node: str, what: str, effect: Callable[[], Any], timeout: float) -> Any:
        try:
            return self._network.call(self._process, node, what, effect, timeout)
        except Refused as refused:
            raise self._die(refused.code) from refused
        except TimedOut as late:
            raise self._unknown() from late

    def _flush(self, timeout: float, share: float = 1.0) -> None:
        """Register and send what is queued, or a share of its partitions; what is not acknowledged stays."""
        clock = self._process.scheduler
        deadline = min(clock.now + timeout, self._queued_at + self._message_timeout)
        name, pid, broker = self._name, self._pid, self._broker
        places = [*self._unacknowledged, *(place for place in self._queue if place not in self._unacknowledged)]
        clock.rng.shuffle(places)
        places = places[: max(1, round(share * len(places)))]
        new = [place for place in places if place not in self._registered]
        try:
            if new:
                self._used = True
                what = f"AddPartitionsToTxn {new}"
                effect: Callable[[], None] = lambda: broker.add(name, pid, new)  # noqa: E731
                self._network.call(self._process, "txn", what, effect, max(0.01, deadline - clock.now))
                self._registered.update(new)
            for place in places:
                while place in self._unacknowledged or place in self._queue:
                    self._send(place, max(0.01, deadline - clock.now))
        except TimedOut:
            if clock.now >= self._queued_at + self._message_timeout:
                self._failed = True
                self._queue.clear()
                self._unacknowledged.clear()
        except Refused as refused:
            if refused.code in _FENCED:
                raise self._die(KafkaError._FENCED) from refused
            self._failed = True

    def _send(self, place: Place, timeout: float) -> None:
        if place not in self._unacknowledged:
            self._sequence += 1
            self._unacknowledged[place] = (self._sequence, self._queue.pop(place))
        sequence, records = self._unacknowledged[place]
        name, pid, broker = self._name, self._pid, self._broker
        what = f"Produce {place} x {len(records)}"
        after = self._network.call(
            self._process, "leader", what, lambda: broker.produce(name, pid, place, sequence, records), timeout
        )
        del self._unacknowledged[place]
        for offset, (number, *_) in enumerate(records, after - len(records)):
            if number in self._reports:
                self._delivered.append((self._reports.pop(number), offset))

    def _report(self) -> None:
        """Serve delivery callbacks, as commit and abort do."""
        delivered, self._delivered = self._delivered, []
        for report, offset in delivered:
            report(None, Message(offset=offset))

    def _send_anyway(self, what: str, effect: Callable[[], None]) -> None:
        self._network.post(self._process, "txn", f"{what} in the background", effect, lambda value, code: None)

    def _die(self, code: int) -> KafkaException:
        code = KafkaError._FENCED if code in _FENCED else code
        self._fatal = KafkaError(code, KafkaError(code).str(), True, False, False)
        return KafkaException(self._fatal)

    def _require_abort(self, code: int, text: str) -> KafkaException:
        self._current = ""
        self._abortable = KafkaError(code, f"{text}: {KafkaError(code).str()}", False, False, True)
        return KafkaException(self._abortable)

    def _unknown(self) -> KafkaException:
        """The call that timed out stays the current one: it may be resumed, and nothing else may begin."""
        text = "Timed out waiting for operation to finish, retry call to resume"
        return KafkaException(KafkaError(KafkaError._TIMED_OUT, text, False, True, False))
