"""Follows the topic ``device-settings`` for one connectors process, and says on ``dead-letters`` what it refuses."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from connectors import clock, letters, metrics
from connectors.changes.layers import Change, Refusal
from connectors.outlet import Full
from connectors.publisher import Publisher
from schemas import topics
from schemas.base import EARLIEST_TIME, LATEST_TIME, Coordinates, key_of
from schemas.dead_letters import DeadLetter
from schemas.device_settings import DeviceSettings
from streams.engine.cluster import Cluster
from streams.engine.errors import Corrupted, classify

log = structlog.get_logger(__name__)
APPLICATION = "settings"
"""What refusals are keyed by."""
_ANSWER = 10.0
"""Seconds for an answer of Kafka."""
_PATIENCE = 30.0
"""Seconds until the topic has been read to its present end."""
_AT_ONCE = 100


class Followed:
    """The topic from its beginning, as far as it is about the process ``name``. Used from one thread."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        """Raises EngineError when Kafka does not know the topic, or does not answer."""
        self.name = name
        self._topic = cluster.named(topics.device_settings.name)
        self._complaint = ""
        self._consumer = cluster.reader(APPLICATION, enable_partition_eof=True)
        try:
            known = self._consumer.list_topics(self._topic, timeout=_ANSWER).topics[self._topic]
            failure: KafkaError | KafkaException | None = known.error
        except KafkaException as error:
            failure = error
        if failure is not None:
            self._consumer.close()
            raise classify(failure, f"looking for the topic {self._topic}")
        self._unread = set(known.partitions)
        self._consumer.assign([TopicPartition(self._topic, place, 0) for place in known.partitions])
        self._publisher = Publisher(cluster, APPLICATION)

    def catch_up(self) -> list[Change]:
        """What there is already. Raises EngineError when that cannot be read within 30 s."""
        deadline = time.monotonic() + _PATIENCE
        found: list[Change] = []
        while self._unread:
            found += self.poll(0.1)
            if time.monotonic() > deadline:
                raise Corrupted(
                    f"the topic {self._topic} could not be read within {_PATIENCE:g} s"
                    + (f": {self._complaint}" if self._complaint else "")
                )
        return found

    def poll(self, timeout: float = 0.0) -> list[Change]:
        """What has come, in order; waits up to ``timeout`` seconds for the first. While Kafka is away: nothing."""
        found = []
        for message in self._consumer.consume(_AT_ONCE, timeout):
            if (error := message.error()) is None:
                change = self._change(message)
                found += [] if change is None else [change]
            elif error.code() == KafkaError._PARTITION_EOF:
                self._unread.discard(message.partition() or 0)
            elif error.str() != self._complaint:
                self._complaint = error.str()
                log.warning("settings of devices cannot be read now; what runs goes on", why=self._complaint)
        return found

    def _change(self, message: Message) -> Change | None:
        """None when it is for another process."""
        name, _, device = (message.key() or b"").decode(errors="replace").partition("|")
        if name != self.name:
            return None
        at = Coordinates(topic=self._topic, partition=message.partition() or 0, offset=message.offset() or 0)
        value, written = message.value(), message.timestamp()[1] * 1000
        wanted: DeviceSettings | None = None
        problem = ""
        if value is not None:
            try:
                wanted = topics.device_settings.decode(value)
            except (ValueError, RecursionError) as error:
                problem = f"not a valid record of {self._topic}: {error}"
            else:
                if (wanted.process, wanted.device) != (name, device):
                    problem = f"the key must be process|device, here {key_of(wanted.process, wanted.device)}"
        return Change(at, device, written, len(value or b""), None if problem else wanted, problem)

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Say what is wrong with each. Its bytes stay where they are: they may hold what should not be there."""
        for refusal in refusals:
            change, now = refusal.change, clock.now()
            key = key_of(self.name, change.device)
            metrics.REFUSED_SETTINGS.inc()
            log.error(
                "changed settings of a device are refused; what runs goes on",
                at=str(change.at),
                key=key,
                why=refusal.reason,
            )
            letter = DeadLetter(
                letter_id=f"{APPLICATION}/{change.at.topic}/{change.at.partition}/{change.at.offset}",
                application=APPLICATION,
                reason=letters.clean(refusal.reason),
                at=change.at,
                key=letters.clean(key),
                raw=b"",
                size=change.size,
                event_time=change.time
                if EARLIEST_TIME <= change.time < LATEST_TIME
                else now,  # whoever wrote it chose it
                receive_time=now,
            )
            try:
                self._publisher.publish(topics.dead_letters, APPLICATION, letter, event_id=letter.letter_id)
            except Full as full:
                log.warning("a refusal could not be written to the dead letters", at=str(change.at), why=str(full))

    def close(self) -> None:
        """Leave Kafka, after the refusals are written or a second has passed."""
        self._consumer.close()
        self._publisher.close(1.0)
