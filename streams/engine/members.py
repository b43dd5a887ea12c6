"""Who is in the group and owns what, asked of the coordinator every few seconds without waiting for the answer.

Kafka can leave a partition to nobody. A cooperative rebalance has two halves: a partition is taken from one member in
the first and given to another in the second. If the sessions end between the two, as when the broker dies, static
members that come back are given what the first half left them, without a rebalance (KIP-345), and the partition waits
until somebody joins or leaves. So one member leaves and joins again when that is how it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import ConsumerGroupState, KafkaException

from streams.engine.outside import Admin, Clock

log = structlog.get_logger(__name__)
_ASK_EVERY = 3.0
"""Seconds between two questions."""
_PATIENCE = 10.0
"""Seconds without an answer after which another client asks."""
_NEVER = 3600.0
"""The longest time-out that the client takes. If a question to a coordinator times out before it could be sent,
librdkafka (2.16) frees it, and uses it again when the coordinator is back: a failed assertion ends the process."""


class Members:
    """One worker's view of its ``group``. ``member``: its group instance id; ``connect`` makes an admin client."""

    def __init__(self, connect: Callable[[], Admin], clock: Clock, group: str, member: str) -> None:
        self._connect = connect
        self._admin = connect()
        self._clock = clock
        self._group = group
        self._member = member
        self._answer: Any = None
        self._asked_at = 0.0
        self._seen: tuple[set[int], set[str]] | None = None
        self.abandoned: list[int] = []
        """Partitions that were nobody's at the last two looks, if it is this member that has to do something."""

    def look(self, partitions: int) -> list[Any] | None:
        """Ask if it is time. The members, as ``describe_consumer_groups`` gives them, if an answer has come.

        Never waits.
        """
        now = self._clock.monotonic()
        if self._answer is not None and not self._answer.done() and now - self._asked_at > _PATIENCE:
            log.warning("nobody could describe the group", group=self._group, seconds=round(now - self._asked_at))
            self._answer, self._admin = None, self._connect()
        if self._answer is None and now - self._asked_at > _ASK_EVERY:
            self._asked_at = now
            self._answer = self._admin.describe_consumer_groups([self._group], request_timeout=_NEVER)[self._group]
        if self._answer is None or not self._answer.done():
            return None
        answer, self._answer = self._answer, None
        try:
            description = answer.result()
        except KafkaException as error:
            log.warning("the group could not be described", group=self._group, why=str(error))
            return None
        present = list(description.members)
        self._weigh(present, set(range(partitions)) if description.state == ConsumerGroupState.STABLE else set())
        return present

    def _weigh(self, present: list[Any], due: set[int]) -> None:
        """Twice the same, since between two halves of a rebalance a partition is nobody's by right."""
        found = due - {tp.partition for one in present for tp in one.assignment.topic_partitions}
        seen = (found, {one.member_id for one in present})
        again = bool(found) and seen == self._seen
        self._seen = seen
        first = min((one.group_instance_id or one.member_id for one in present), default="")
        self.abandoned = sorted(found) if again and first == self._member else []
