"""A consumer as librdkafka 2.16 behaves under the cooperative-sticky strategy: fetching, callbacks, errors.

Kept: callbacks and fatal errors are served from within ``consume``; records fetched before a callback of the same call
are still returned after it; ends of partitions; offsets outside the log are errors. Simplified: nothing is fetched
ahead of ``consume``; the batch is a random share of what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from tests.simulator.broker import Broker, Place
from tests.simulator.membership import Membership, Op
from tests.simulator.network import Network, TimedOut
from tests.simulator.scheduler import Process

Callback = Callable[[Any, list[TopicPartition]], None]
_NEVER = -1


class SimConsumer:
    """``confluent_kafka.Consumer`` of one process."""

    def __init__(self, process: Process, network: Network, broker: Broker, config: dict[str, Any]) -> None:
        self._process = process
        self._network = network
        self._broker = broker
        self._config = config
        self._committed_only = config.get("isolation_level", "read_committed") == "read_committed"
        self._tell_ends = config.get("enable_partition_eof", False)
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._end_told: dict[Place, int] = {}
        self._topic = ""
        self._membership: Membership | None = None
        self._callbacks: dict[str, Callback] = {}
        self._calling = False
        self._waiting = False
        self._closed = False
        self._closing = False

    # --- the group ---------------------------------------------------------------------------------------------

    def subscribe(self, topics: list[str], on_assign: Callback, on_revoke: Callback, on_lost: Callback) -> None:
        (self._topic,) = topics
        self._callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}
        timeout = self._config["session_timeout_ms"] / 1000
        self._membership = Membership(
            self._process, self._network, self._broker.group, self._config["group_instance_id"], timeout, self._poke
        )
        self._membership.join()

    def unsubscribe(self) -> None:
        self._process.check()
        if self._membership is not None:
            self._membership.leave()

    def consumer_group_metadata(self) -> Any:
        assert self._membership is not None
        member = self._membership
        return member.id, member.instance, member.generation

    def memberid(self) -> str:
        return self._membership.id if self._membership is not None else ""

    def committed(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        places = [(tp.topic, tp.partition) for tp in partitions]
        try:
            found = self._network.call(
                self._process, "group", f"OffsetFetch {places}", lambda: self._broker.group.fetch(places), timeout
            )
        except TimedOut as late:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from late
        return [
            TopicPartition(topic, partition, offset, metadata or "")
            for (topic, partition), (offset, metadata) in zip(places, found, strict=True)
        ]

    # --- what is read ------------------------------------------------------------------------------------------

    def list_topics(self, topic: str, timeout: float = -1) -> None:
        """Only asked for so that the client knows it."""
        assert not self._calling, "the real client ends the process at its next callback when it is asked within one"
        self._ask("Metadata", timeout)

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = -1) -> None:
        """Only asked for so that the client wakes up."""
        self._ask("ListOffsets", timeout)

    def _ask(self, what: str, timeout: float) -> None:
        try:
            self._network.call(self._process, "leader", what, lambda: None, timeout)
        except TimedOut as error:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error

    def assignment(self) -> list[TopicPartition]:
        if self._closing:
            raise KafkaException(KafkaError(KafkaError._DESTROY, "Failed to get assignment"))
        return [TopicPartition(topic, partition) for topic, partition in self._positions]

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._process.check()
        for tp in partitions:
            place = (tp.topic, tp.partition)
            if place in self._positions:
                raise KafkaException(KafkaError(KafkaError._CONFLICT, f"{place} is already assigned"))
            self._positions[place] = tp.offset
            self._broker.listeners[place].append(self._poke)
        self._note("assigns", partitions)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        for tp in partitions:
            place = (tp.topic, tp.partition)
            del self._positions[place]
            self._paused.discard(place)
            self._end_told.pop(place, None)
            self._broker.listeners[place].remove(self._poke)
        self._note("unassigns", partitions)

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._paused.update((tp.topic, tp.partition) for tp in partitions)
        self._note("pauses", partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        for tp in partitions:
            self._paused.discard((tp.topic, tp.partition))
            self._end_told.pop((tp.topic, tp.partition), None)
        self._note("resumes", partitions)

    def seek(self, partition: TopicPartition) -> None:
        place = (partition.topic, partition.partition)
        if place not in self._positions:
            raise KafkaException(KafkaError(KafkaError._STATE, f"{place} is not assigned"))
        self._positions[place] = partition.offset
        self._end_told.pop(place, None)

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, cached: bool = False
    ) -> tuple[int, int]:
        return 0, self._broker.logs[partition.topic, partition.partition].end

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """As confluent-kafka: up to ``num_messages``, waiting up to ``timeout`` seconds for all of them."""
        clock = self._process.scheduler
        self._process.check()
        if self._closed:
            raise RuntimeError("Consumer closed")
        deadline = clock.now + timeout
        found: list[Message] = []
        while True:
            found += self._fetch(num_messages - len(found))
            op = self._membership.next_op() if self._membership is not None else None
            if op is not None:
                self._serve(op, found)
            elif len(found) >= num_messages or clock.now >= deadline:
                break
            else:
                self._waiting = True
                self._process.wait(deadline - clock.now)
                self._waiting = False
        if timeout > 0:
            self._process.wait(0.0001)  # a place at which to die with records in hand
        return found

    def close(self) -> None:
        self._process.check()
        if self._closed:
            return
        if self._membership is not None:
            owned = self._membership.owned
            self._membership.close()
            if owned:
                self._closing = True
                self._call_back("revoke", owned)
                self._closing = False
        self.incremental_unassign(self.assignment())
        self._closed = True

    # --- inside ------------------------------------------------------------------------------------------------

    def _call_back(self, kind: str, partitions: Any) -> None:
        self._calling = True
        try:
            self._callbacks[kind](self, self._parts(partitions))
        except KafkaException as error:
            raise AssertionError("what leaves a callback is no exception any more: nothing could catch it") from error
        finally:
            self._calling = False

    def _note(self, what: str, partitions: list[TopicPartition]) -> None:
        """What a member of the group does with its partitions."""
        if self._membership is not None and partitions:
            places = sorted((tp.topic, tp.partition) for tp in partitions)
            self._process.scheduler.note(self._process.name, what, places)

    def _poke(self) -> None:
        if self._waiting:
            self._process.wake()

    def _parts(self, partitions: tuple[int, ...]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def _serve(self, op: Op, found: list[Message]) -> None:
        assert self._membership is not None
        if op.kind == "failed":
            found.append(Message(error=KafkaError(op.code, op.text)))
            return
        self._process.scheduler.note(self._process.name, "is told", op.kind, op.partitions)
        try:
            self._call_back(op.kind, op.partitions)
        finally:
            if not self._process.dead:
                self._membership.served(op)

    def _fetch(self, limit: int) -> list[Message]:
        rng = self._process.scheduler.rng
        found: list[Message] = []
        places = [place for place in self._positions if place not in self._paused]
        if not places or limit <= 0 or self._network.is_away("leader"):
            return found
        start = rng.randrange(len(places))
        for place in places[start:] + places[:start]:
            if len(found) >= limit:
                break
            found += self._fetch_from(place, rng.choice((1, 3, limit)), limit - len(found))
        return found

    def _fetch_from(self, place: Place, share: int, limit: int) -> list[Message]:
        log, position = self._broker.logs[place], self._positions[place]
        topic, partition = place
        if position > log.end:
            error = KafkaError(KafkaError._AUTO_OFFSET_RESET, f"offset {position} out of range")
            return [Message(topic=topic, partition=partition, offset=position, error=error)]
        entries, after = log.read(position, min(share, limit), committed=self._committed_only)
        self._positions[place] = after
        found = [
            Message(
                topic=topic,
                partition=partition,
                offset=e.offset,
                key=e.key,
                value=e.value,
                headers=e.headers,
                timestamp=(1, int(e.time * 1000)),
            )
            for e in entries
        ]
        end = log.stable if self._committed_only else log.end
        if not self._tell_ends:
            return found
        if after >= end and len(found) < limit and self._end_told.get(place, _NEVER) != after:
            self._end_told[place] = after
            error = KafkaError(KafkaError._PARTITION_EOF)
            found.append(Message(topic=topic, partition=partition, offset=after, error=error))
        return found
