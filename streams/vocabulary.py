"""How the engine's own facts are written in gridtape's schemas: coordinates, dead letters, journal, headers."""

from __future__ import annotations

from typing import Any

from schemas import cloudevents, topics
from schemas.base import EARLIEST_TIME, LATEST_TIME, Coordinates
from schemas.dead_letters import RAW_LIMIT, DeadLetter
from schemas.journal import Journal, Segment
from streams.engine.memory import MemoryDriver as _MemoryDriver
from streams.engine.ports import Headers, JournalEntry, Output, Poison, TopicPort


class Words:
    """The engine's :class:`~streams.engine.ports.Vocabulary` in the house's records."""

    def coordinates(self, topic: str, partition: int, offset: int) -> Coordinates:
        """Coordinates for evidence."""
        return Coordinates(topic=topic, partition=partition, offset=offset)

    def dead_letter(self, poison: Poison) -> Output:
        """A dead letter keyed by the application; its id names the coordinates, so a repeat is recognised."""
        at = Coordinates(topic=poison.topic, partition=poison.partition, offset=poison.offset)
        time = min(max(poison.timestamp, EARLIEST_TIME), LATEST_TIME - 1)
        letter = DeadLetter(
            letter_id=f"{poison.application}-{poison.topic}-{poison.partition}-{poison.offset}",
            application=poison.application,
            reason=poison.reason[:2000],
            at=at,
            key=None if poison.key is None else poison.key.decode("utf-8", "backslashreplace")[:2000],
            raw=poison.raw[:RAW_LIMIT],
            size=len(poison.raw),
            event_time=time,
            receive_time=time,
        )
        return self._output(topics.dead_letters, poison.application, poison.application, letter, letter.letter_id)

    def journal(self, entry: JournalEntry) -> Output:
        """A journal record; those of one application stand in one partition, in the order of their commits."""
        time = max(entry.event_time, EARLIEST_TIME)
        record = Journal(
            application=entry.application,
            partition=entry.partition,
            commit=entry.commit,
            segments=[
                Segment(topic=s.topic, first=s.first, last=s.last, count=s.records, time=s.time) for s in entry.segments
            ],
            outputs=entry.outputs,
            output_hash=entry.output_hash,
            event_time=time,
            receive_time=time,
        )
        event_id = f"{entry.application}-{entry.partition}-{entry.commit}"
        key = f"{entry.application}|{entry.partition}"
        return self._output(topics.journal, key, entry.application, record, event_id, route=entry.application)

    def headers(self, topic: TopicPort, source: str, event_id: str, event_time: int) -> Headers:
        """CloudEvents headers."""
        return cloudevents.headers(topics.BY_NAME[topic.name].kind, source, event_id, event_time)

    def _output(
        self, topic: topics.Topic[Any], key: str, application: str, record: Any, event_id: str, route: int | str = ""
    ) -> Output:
        headers = cloudevents.headers(topic.kind, f"processors/{application}", event_id, record.event_time)
        return Output(topic.name, key.encode(), topic.encode(record), headers, key if route == "" else route)


class MemoryDriver(_MemoryDriver):
    """The engine's in-memory driver, speaking gridtape's records."""

    def __init__(self, processors: Any, *, partitions: int = 1) -> None:
        super().__init__(processors, Words(), partitions=partitions)
