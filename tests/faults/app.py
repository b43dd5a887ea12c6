"""The application that the fault suite breaks: small enough that a verifier can derive all it must have written."""

from __future__ import annotations

import msgspec

from processors.positions import Positions
from processors.processor import Batch, Emitter, Processor, State
from schemas import topics as house
from streams.engine.layout import TopicSpec, changelog_of
from streams.engine.ports import Headers, TopicPort
from streams.engine.worker import Options
from streams.vocabulary import Words
from tests.topic import Topic

PARTITIONS = 4
SECOND = 1_000_000
BUCKET = SECOND
"""An event-time timer stands at the end of each of these that a key has a record in."""
WALL_EVERY = 10
"""Each so-many-th record of a key sets a wall-clock timer,"""
WALL_AFTER = 300_000
"""this many microseconds after its event time."""
ALARM = 990
"""An amount from which a record is urgent."""
BROKEN = -1
"""An amount at which the processor fails."""
REFUSED = -2
"""An amount that the processor rejects."""
OPTIONS = Options(commit_interval=0.05, idle_after=1.0, session_timeout=6.0, transaction_timeout=6.0)
"""The session time-out is the least that a broker allows by default, so that a run sees many."""


class Hit(msgspec.Struct, frozen=True):
    """An input record."""

    key: str
    amount: int
    event_time: int


class Version(msgspec.Struct, frozen=True):
    """A broadcast record; each is one above the one before."""

    version: int
    event_time: int


class Sum(msgspec.Struct, frozen=True):
    """All about a key up to its ``n``-th record, which stands ``at`` these coordinates."""

    key: str
    n: int
    total: int
    least: int
    most: int
    at: str
    version: int
    event_time: int


class Closing(msgspec.Struct, frozen=True):
    """A timer that fired, for the ``times``-th time, when its clock showed ``event_time``."""

    key: str
    times: int
    event_time: int


hits = Topic("hits", Hit)
extras = Topic("extras", Hit)
versions = Topic("versions", Version, broadcast=True)
counts = Topic("counts", Sum)
sums = Topic("sums", Sum)
alarms = Topic("alarms", Sum, urgent=True)
closings = Topic("closings", Closing)
OUTPUTS = (counts, sums, alarms, closings)


class Tally(Processor):
    """Count, sum, least and most of each key, one record per input and the newest per key; timers of both clocks."""

    name = "tally"
    reads = (hits, extras, versions)  # type: ignore[assignment]
    writes = OUTPUTS  # type: ignore[assignment]
    known = State(Sum)
    version = State(int)
    set = State(int)
    """Timers that were set, to how often they fired."""

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        if batch.topic is versions:
            self.version.put("version", batch.values[-1].version)
            return
        version = self.version.get("version") or 0
        for i, hit in enumerate(batch.values):
            if hit.amount == BROKEN:
                raise ArithmeticError("this amount breaks the processor")
            if hit.amount == REFUSED:
                batch.reject(i, "this amount is refused")
                continue
            last = self.known.get(hit.key)
            self._take(hit, last, str(batch.at(i)), version, out)

    def _take(self, hit: Hit, last: Sum | None, at: str, version: int, out: Emitter) -> None:
        now = Sum(
            key=hit.key,
            n=last.n + 1 if last else 1,
            total=last.total + hit.amount if last else hit.amount,
            least=min(last.least, hit.amount) if last else hit.amount,
            most=max(last.most, hit.amount) if last else hit.amount,
            at=at,
            version=version,
            event_time=hit.event_time,
        )
        self.known.put(hit.key, now)
        out.append(counts, hit.key, now, event_id=f"{hit.key}-{now.n}")  # type: ignore[type-var]
        out.latest(sums, hit.key, now)  # type: ignore[type-var]
        if hit.amount >= ALARM:
            out.append(alarms, hit.key, now, event_id=f"{hit.key}-{now.n}")  # type: ignore[type-var]
        bucket = bucket_timer(hit)
        if self.set.get(bucket) is None:
            self.set.put(bucket, 0)
            self.timers.at_event(bucket, end_of(bucket))
        if now.n % WALL_EVERY == 0:
            self.timers.at_wall(wall_timer(hit.key, now.n), hit.event_time + WALL_AFTER)

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        times = (self.set.get(key) or 0) + 1
        self.set.put(key, times)
        out.append(closings, key, Closing(key, times, now), event_id=f"{key}-{times}")  # type: ignore[type-var]


def bucket_timer(hit: Hit) -> str:
    """Name of the event-time timer of a record's bucket."""
    return f"{hit.key}|b{hit.event_time // BUCKET}"


def end_of(bucket: str) -> int:
    """When the event-time timer of this name is due."""
    return (int(bucket.rpartition("|b")[2]) + 1) * BUCKET


def wall_timer(key: str, n: int) -> str:
    """Name of the wall-clock timer that the ``n``-th record of a key sets."""
    return f"{key}|w{n}"


class Plain(Words):
    """The house's journal and dead letters; no headers on topics that the house does not know."""

    def headers(self, topic: TopicPort, source: str, event_id: str, event_time: int) -> Headers:
        return super().headers(topic, source, event_id, event_time) if topic.name in house.BY_NAME else []


PROCESSORS: tuple[type[Processor], ...] = (Tally, Positions)


def specs() -> list[TopicSpec]:
    """Every topic of a run; nothing expires during one."""
    names = [t.name for t in (hits, extras, versions, *OUTPUTS)]
    names += [t.name for t in (*Positions.reads, *Positions.writes, house.journal, house.dead_letters)]
    keep = {"cleanup.policy": "delete", "retention.ms": "-1"}
    compact = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2"}
    return [TopicSpec(name, PARTITIONS, keep) for name in names] + [
        TopicSpec(changelog_of(p.name), PARTITIONS, compact) for p in PROCESSORS
    ]
