"""Where a commit that was made again differs from the one that is in Kafka."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas.journal import Journal, Segment
from streams.engine.ports import Output
from streams.replay.rerun import Entry, Made, event_id

_MOST = 20
"""Fields that are shown of a difference."""
_ABSENT = "(absent)"


@dataclass(frozen=True)
class Committed:
    """An output as it stands in Kafka. ``topic`` without prefix; ``time``: Kafka's timestamp, microseconds."""

    topic: str
    key: str
    value: bytes
    event_id: str
    at: str
    time: int


@dataclass(frozen=True)
class Difference:
    """The first commit of a task that comes out otherwise, and the first record in it that does.

    ``fields``: path, committed and replayed value of what differs in the record. ``committed`` and ``replayed`` are the
    records' text; None where there is none.
    """

    application: str
    partition: int
    commit: int
    journal: str
    what: str
    topic: str = ""
    key: str = ""
    at: str = ""
    committed: str | None = None
    replayed: str | None = None
    fields: list[tuple[str, str, str]] = field(default_factory=list)


def differs(entry: Entry, made: Made) -> bool:
    """Whether the commit came out otherwise: outputs, or what was fed to make them."""
    return bool(made.failure) or made.journal != entry.record


def locate(entry: Entry, made: Made, candidates: Iterable[Committed]) -> Difference:
    """Name the first difference. ``candidates``: what the application committed about the time of this commit."""
    record = entry.record

    def found(what: str, **more: Any) -> Difference:
        return Difference(record.application, record.partition, record.commit, entry.at, what, **more)

    if made.failure:
        return found(made.failure)
    if made.journal.output_hash == record.output_hash:
        return found(_fed(record, made.journal))
    known = {(one.topic, one.event_id): one for one in candidates}
    for output in made.outputs:
        one = known.pop((output.topic, event_id(output)), None)
        text = output.value.decode(errors="backslashreplace")
        key = output.key.decode(errors="backslashreplace")
        if one is None:
            return found("made again, but not what was committed", topic=output.topic, key=key, replayed=text)
        if (one.value, one.key) != (output.value, key):
            return found(
                "the record differs",
                topic=one.topic,
                key=one.key,
                at=one.at,
                committed=one.value.decode(errors="backslashreplace"),
                replayed=text,
                fields=list(_limited(compare(one.value, output.value))),
            )
    return _missing(entry, made, known.values(), found)


def _missing(entry: Entry, made: Made, left: Iterable[Committed], found: Any) -> Difference:
    record = entry.record
    lacking = record.outputs - len(made.outputs)
    if lacking <= 0:
        return found("the same records, in another order than they were committed")  # type: ignore[no-any-return]
    text = f"{record.outputs} records were committed, {len(made.outputs)} are made again"
    own = f"{record.application}-{record.partition}-{record.commit}-"
    candidates = sorted(left, key=lambda one: (not one.event_id.startswith(own), abs(entry.time - one.time)))
    if not candidates:
        return found(text)  # type: ignore[no-any-return]
    first = candidates[0]
    return found(  # type: ignore[no-any-return]
        f"{text}; not made again, by its id or the nearest in time",
        topic=first.topic,
        key=first.key,
        at=first.at,
        committed=first.value.decode(errors="backslashreplace"),
    )


def _fed(was: Journal, now: Journal) -> str:
    """Outputs are the same, but not how they came about."""
    if was.segments != now.segments:
        lost = [segment for segment in was.segments if segment not in now.segments]
        words = "; ".join(map(_segment, lost)) or "the order"
        return f"the outputs are the same, but this did not happen again: {words}"
    return f"the outputs are the same, but the journal differs: event time {was.event_time}, replayed {now.event_time}"


def _segment(segment: Segment) -> str:
    if not segment.topic:
        return f"timers fired at {segment.time}"
    return f"{segment.topic} fell silent" if segment.first < 0 else f"{segment.topic} {segment.first}-{segment.last}"


def compare(was: bytes, now: bytes) -> Iterator[tuple[str, str, str]]:
    """Path, old and new value of each difference between two JSON texts; of other bytes, the bytes."""
    try:
        yield from _walk("", json.loads(was), json.loads(now))
    except ValueError:
        yield "", repr(was), repr(now)


def _walk(path: str, was: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*was, *now)):
            yield from _walk(f"{path}.{name}" if path else name, was.get(name, _ABSENT), now.get(name, _ABSENT))
    elif isinstance(was, list) and isinstance(now, list):
        for place in range(max(len(was), len(now))):
            one = was[place] if place < len(was) else _ABSENT
            other = now[place] if place < len(now) else _ABSENT
            yield from _walk(f"{path}[{place}]", one, other)
    elif was != now or type(was) is not type(now):
        yield path, _text(was), _text(now)


def _text(value: Any) -> str:
    return _ABSENT if value is _ABSENT else json.dumps(value, ensure_ascii=False)


def _limited(found: Iterator[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    for number, one in enumerate(found):
        if number == _MOST:
            return
        yield one


def outputs_of(made: Made) -> list[tuple[tuple[str, str], Output]]:
    """Each output with what tells it apart within its commit: conflated ones their key, the others their event id."""
    return [
        ((output.topic, output.key.decode(errors="backslashreplace") if n < made.latest else event_id(output)), output)
        for n, output in enumerate(made.outputs)
    ]
