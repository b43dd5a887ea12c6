"""What came of the records that were handed to Kafka, counted by topic, for metrics and the log."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import KafkaError, Message

from connectors import metrics
from connectors.repeats import Repeats
from schemas import topics
from schemas.dead_letters import DeadLetter
from schemas.topics import Topic
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)
Report = Callable[[KafkaError | None, Message], None]


class Lane:
    """One topic's way into Kafka: its name there, and how many records have arrived.

    ``report`` is the delivery report of a record whose arrival need only be counted; ``refused`` gets what Kafka did
    not take. Each counter has one writer: ``passed`` whoever takes reports, ``settled`` and ``told`` the poll thread.
    """

    __slots__ = ("name", "passed", "report", "settled", "told", "topic")

    def __init__(self, topic: Topic[Any], name: str, refused: Callable[[Lane, KafkaError, Message], None]) -> None:
        self.topic = topic
        self.name = name
        self.passed = self.settled = self.told = 0

        def report(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.passed += 1
            else:
                refused(self, error, message)

        self.report: Report = report


class Deliveries:
    """All lanes of one connector, ``application``, by topic; ``refused`` as for :class:`Lane`."""

    def __init__(
        self, cluster: Cluster, application: str, refused: Callable[[Lane, KafkaError, Message], None]
    ) -> None:
        self.lanes = {one.name: Lane(one, cluster.named(one.name), refused) for one in topics.ALL}
        self._application = application
        self._failed: Counter[tuple[str, str]] = Counter()
        self._untold: Counter[tuple[str, str]] = Counter()
        self._letters: deque[DeadLetter] = deque()
        self._aside = 0
        self._repeats = Repeats()

    @property
    def passed(self) -> int:
        """Records that have arrived and about which nobody wanted to be told."""
        return sum(lane.passed for lane in self.lanes.values())

    def failed(self, lane: Lane, error: str) -> None:
        """A record that Kafka did not take."""
        self._failed[lane.name, error] += 1
        metrics.DELIVERY_ERRORS.labels(self._application, lane.topic.name).inc()

    def put_aside(self, letter: DeadLetter) -> None:
        """A dead letter that was handed to Kafka."""
        self._letters.append(letter)

    def tell(self, outstanding: int) -> None:
        """Show what has come since the last time."""
        metrics.SPOOL.labels(self._application).set(outstanding)
        for topic, lane in self.lanes.items():
            arrived = lane.passed + lane.settled
            if arrived > lane.told:
                metrics.PUBLISHED.labels(self._application, topic).inc(arrived - lane.told)
                lane.told = arrived
        while self._failed:
            (name, error), count = self._failed.popitem()
            self._untold[name, error] += count
            if self._repeats.again(name, error) is not None:
                log.error(
                    "Kafka did not take records",
                    connector=self._application,
                    topic=name,
                    error=error,
                    records=self._untold.pop((name, error)),
                )
        letters = [self._letters.popleft() for _ in range(len(self._letters))]
        if letters:
            metrics.DEAD_LETTERS.labels(self._application).inc(len(letters))
            self._aside += len(letters)
            source, reason = letters[-1].source or "", letters[-1].reason
            if self._repeats.again("letters", source, reason) is not None:
                log.warning(
                    "put aside as dead letters",
                    connector=self._application,
                    records=self._aside,
                    last_source=source,
                    last_reason=reason,
                )
                self._aside = 0
