"""An admin client, as far as a running worker uses it: ends of partitions, topics, members of the group."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)

from tests.simulator.broker import Broker
from tests.simulator.network import Network, TimedOut
from tests.simulator.scheduler import Process

_EARLIEST = -2
_LOOK = 0.002
"""Seconds between two looks for an answer."""


class SimAdmin:
    """``confluent_kafka.admin.AdminClient``."""

    def __init__(self, process: Process, network: Network, broker: Broker) -> None:
        self._process = process
        self._network = network
        self._broker = broker
        self._met = False

    def list_topics(self, timeout: float) -> SimpleNamespace:
        """Every partition has a leader: there is one broker."""

        def ask() -> dict[str, SimpleNamespace]:
            found: dict[str, SimpleNamespace] = {}
            for topic, partition in self._broker.logs:
                of_topic = found.setdefault(topic, SimpleNamespace(partitions={}))
                of_topic.partitions[partition] = SimpleNamespace(leader=1)
            return found

        try:
            topics = self._network.call(self._process, "leader", "Metadata", ask, timeout)
        except TimedOut as error:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error
        self._met = True
        return SimpleNamespace(topics=topics)

    def list_offsets(
        self, wanted: dict[TopicPartition, Any], request_timeout: float, isolation_level: Any = None
    ) -> dict[TopicPartition, Future]:
        """Waits, other than the real one, which does so when the result is asked for."""
        assert self._met, "the real client may end the process when it does not know the leaders yet"
        committed = isolation_level == IsolationLevel.READ_COMMITTED

        def ask() -> dict[TopicPartition, int]:
            found = {}
            for tp, spec in wanted.items():
                log = self._broker.logs[tp.topic, tp.partition]
                found[tp] = 0 if spec._value == _EARLIEST else log.stable if committed else log.end
            return found

        try:
            offsets = self._network.call(self._process, "leader", "ListOffsets", ask, request_timeout)
        except TimedOut:
            return {tp: Future(code=KafkaError._TIMED_OUT) for tp in wanted}
        return {tp: Future(SimpleNamespace(offset=offset)) for tp, offset in offsets.items()}

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> dict[str, Future]:
        """Answered in the background; asking for the result waits. No topic is ever made anew."""
        logs, found = self._broker.logs, {}
        for name in topics.topic_names:
            future = found[name] = Future(process=self._process)

            def ask(name: str = name) -> Any:
                return SimpleNamespace(partitions=[p for topic, p in logs if topic == name], topic_id=f"id-of-{name}")

            self._network.post(self._process, "leader", "DescribeTopics", ask, future.settle)
            self._process.at(request_timeout, partial(future.settle, None, KafkaError._TIMED_OUT))
        return found

    def describe_consumer_groups(self, group_ids: list[str], request_timeout: float) -> dict[str, Future]:
        """Answered in the background."""
        (group_id,) = group_ids
        future = Future()

        def ask() -> Any:
            members = [
                SimpleNamespace(
                    member_id=member.id,
                    group_instance_id=member.instance,
                    assignment=SimpleNamespace(topic_partitions=[TopicPartition("", p) for p in member.assigned]),
                )
                for member in self._broker.group.members.values()
            ]
            state = ConsumerGroupState.STABLE if self._broker.group.state == "stable" else ConsumerGroupState.UNKNOWN
            return SimpleNamespace(state=state, members=members)

        self._network.post(self._process, "group", "DescribeGroups", ask, future.settle)
        return {group_id: future}


class Future:
    """An answer, or the code of an error."""

    def __init__(self, value: Any = None, code: int | None = None, process: Process | None = None) -> None:
        self._value = value
        self._code = code
        self._process = process

    def settle(self, value: Any, code: int | None) -> None:
        """The answer has come; only the first counts."""
        if not self.done():
            self._value, self._code = value, code

    def done(self) -> bool:
        """Whether there is one."""
        return self._value is not None or self._code is not None

    def exception(self) -> Exception | None:
        """Why there is no result, once it is done."""
        return None if self._code is None else KafkaException(KafkaError(self._code))

    def result(self) -> Any:
        """What was asked for. Raises KafkaException."""
        while self._process is not None and not self.done():
            self._process.wait(_LOOK)
        if self._code is not None:
            raise KafkaException(KafkaError(self._code))
        return self._value
