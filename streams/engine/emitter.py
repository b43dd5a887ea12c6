"""What a processor sees of the engine: the batch it is given and where its decisions go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streams.engine.ports import MessagePort, Output, TopicPort

Written = Callable[[TopicPort, str, Any, str], Output]
"""Topic, key, record and event id to an output; raises what the encoding raises."""


class Batch:
    """Decoded records of one topic and partition, in consumed order."""

    __slots__ = ("_at", "_reject", "messages", "topic", "values")

    def __init__(
        self,
        topic: TopicPort,
        messages: Sequence[MessagePort],
        values: list[Any],
        at: Callable[[TopicPort, MessagePort], Any],
        reject: Callable[[TopicPort, MessagePort, str], None],
    ) -> None:
        self.topic = topic
        self.messages = messages
        self.values = values
        self._at = at
        self._reject = reject

    def one(self, index: int) -> Batch:
        """A batch of the record at ``index`` alone."""
        return Batch(self.topic, self.messages[index : index + 1], [self.values[index]], self._at, self._reject)

    def key(self, index: int) -> str:
        """Message key of the record at ``index``; empty when it had none."""
        key = self.messages[index].key()
        return key.decode("utf-8", "backslashreplace") if key else ""

    def at(self, index: int) -> Any:
        """Coordinates of the record at ``index``, under the topic's name on the cluster."""
        return self._at(self.topic, self.messages[index])

    def reject(self, index: int, reason: str) -> None:
        """Send the record at ``index`` to the dead letters."""
        self._reject(self.topic, self.messages[index], reason)


class Emitter:
    """Collects outputs; a failed batch takes back only its own."""

    def __init__(self, writes: Iterable[TopicPort], written: Written) -> None:
        self._writes = frozenset(writes)
        self._written = written
        self.conflated: dict[tuple[TopicPort, str], Any] = {}
        self.appended: list[tuple[TopicPort, Output]] = []
        self._fresh_conflated: dict[tuple[TopicPort, str], Any] = {}
        self._fresh_appended: list[tuple[TopicPort, Output]] = []
        self.urgent = False

    def latest(self, topic: TopicPort, key: str, record: Any) -> None:
        """Write ``record``; of several with the same topic and key in one commit only the newest is written.

        It is encoded at the commit. Raises ValueError when the processor does not declare ``topic``.
        """
        if topic not in self._writes:
            raise ValueError(f"topic {topic.name} is not among the processor's writes")
        self._fresh_conflated[topic, key] = record

    def append(self, topic: TopicPort, key: str, record: Any, *, event_id: str) -> None:
        """Write ``record``, every one, in order.

        It is encoded here, so that what cannot be written fails with the input that caused it. Raises ValueError when
        the processor does not declare ``topic``.
        """
        if topic not in self._writes:
            raise ValueError(f"topic {topic.name} is not among the processor's writes")
        self._fresh_appended.append((topic, self._written(topic, key, record, event_id)))

    def keep(self) -> None:
        """The batch succeeded."""
        if self._fresh_conflated:
            self.urgent = self.urgent or any(topic.urgent for topic, _ in self._fresh_conflated)
            self.conflated.update(self._fresh_conflated)
            self._fresh_conflated.clear()
        if self._fresh_appended:
            self.urgent = self.urgent or any(topic.urgent for topic, _ in self._fresh_appended)
            self.appended += self._fresh_appended
            self._fresh_appended.clear()

    def forget(self) -> None:
        """The batch failed."""
        self._fresh_conflated.clear()
        self._fresh_appended.clear()

    def clear(self) -> None:
        """Everything was committed, or is gone."""
        self.forget()
        self.conflated.clear()
        self.appended.clear()
        self.urgent = False
