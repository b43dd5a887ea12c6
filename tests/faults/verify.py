"""What must be in the committed topics after a run, derived from the committed input alone.

Every function returns findings, one sentence each; an empty list is what is hoped for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from processors.positions import Positions
from schemas import topics as house
from schemas.fills import Fill
from streams.engine.cluster import Cluster
from streams.engine.layout import changelog_of
from streams.engine.restore import bounds
from tests.faults import app
from tests.faults.records import Log, Witness, read_all
from tests.faults.source import POISON
from tests.oracle import realised

_SHOWN = 5
"""Examples of one kind of finding."""
_STILL = 120.0
"""Seconds: twice the longest pause that was ever seen on a quiet machine."""


class Evidence:
    """Committed topics, read once."""

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        self.cluster = cluster
        self.logs: dict[str, Log] = read_all(cluster, topics)

    @classmethod
    def all_of(cls, cluster: Cluster) -> Evidence:
        """Every topic of a run."""
        return cls(cluster, [spec.name for spec in app.specs()])

    def records(self, topic: Any) -> Iterable[tuple[int, int, str, Any]]:
        """Partition, offset, key and record of a topic, without the poison."""
        for partition, log in self.logs[topic.name].items():
            for entry in log:
                if POISON not in entry.headers:
                    yield partition, entry.offset, entry.key, topic.decode(entry.value)

    def place(self, topic: Any, partition: int, offset: int) -> str:
        """Coordinates as Tally writes them."""
        return str(app.Plain().coordinates(self.cluster.named(topic.name), partition, offset))


def everything(evidence: Evidence, witness: Witness) -> list[str]:
    """All findings."""
    return [
        *tally(evidence),
        *timers(evidence),
        *positions(evidence),
        *dead_letters(evidence),
        *journal(evidence),
        *offsets(evidence),
        *changelog(evidence),
        *witnessed(evidence, witness),
        *stood_still(witness),
    ]


def tally(evidence: Evidence) -> list[str]:
    """Each record counted once, in order, with the right sums; the newest of each key is the final state."""
    given: dict[str, tuple[str, int, app.Hit]] = {}
    for topic in (app.hits, app.extras):
        for partition, offset, _, hit in evidence.records(topic):
            given[evidence.place(topic, partition, offset)] = (topic.name, offset, hit)
    found: list[str] = []
    seen: Counter[str] = Counter()
    last: dict[str, app.Sum] = {}
    order: dict[tuple[str, str], int] = {}
    for _, _, key, count in evidence.records(app.counts):
        seen[count.at] += 1
        if count.at not in given:
            found.append(f"counts: {count} tells of a record that is not in the input")
            continue
        topic, offset, hit = given[count.at]
        if offset <= order.get((key, topic), -1):
            found.append(f"counts: {count} comes after a later record of {topic}: the order of {key} is lost")
        order[key, topic] = offset
        before = last.get(key)
        expected = app.Sum(
            key=hit.key,
            n=before.n + 1 if before else 1,
            total=(before.total if before else 0) + hit.amount,
            least=min(hit.amount, before.least) if before else hit.amount,
            most=max(hit.amount, before.most) if before else hit.amount,
            at=count.at,
            version=count.version,
            event_time=hit.event_time,
        )
        if count != expected:
            found.append(f"counts: is {count}, must be {expected}")
        if before and count.version < before.version:
            found.append(f"counts: {count} was decided with an older version than {before.version}")
        last[key] = count
    found += [f"counts: {at} was lost" for at in given.keys() - seen.keys()]
    found += [f"counts: {at} was counted {n} times" for at, n in seen.items() if n > 1]
    found += _finals(evidence, last)
    urgent = sorted(at for at, (_, _, hit) in given.items() if hit.amount >= app.ALARM)
    alarms = sorted(alarm.at for _, _, _, alarm in evidence.records(app.alarms))
    if alarms != urgent:
        found.append(f"alarms: {len(alarms)} were raised, {len(urgent)} are due")
    return _few("counts", found)


def _finals(evidence: Evidence, last: dict[str, app.Sum]) -> list[str]:
    newest: dict[str, app.Sum] = {}
    found: list[str] = []
    for _, _, key, total in evidence.records(app.sums):
        if key in newest and newest[key].n >= total.n:
            found.append(f"sums: {total} comes after {newest[key]}")
        newest[key] = total
    if newest != last:
        found.append(f"sums: the newest of {[k for k in last if newest.get(k) != last[k]]} is not the newest count")
    return found


def timers(evidence: Evidence) -> list[str]:
    """Every timer fired once, and not before it was due."""
    due: dict[str, int] = {}
    for topic in (app.hits, app.extras):
        for _, _, _, hit in evidence.records(topic):
            bucket = app.bucket_timer(hit)
            due[bucket] = app.end_of(bucket)
    for _, _, key, count in evidence.records(app.counts):
        if count.n % app.WALL_EVERY == 0:
            due[app.wall_timer(key, count.n)] = count.event_time + app.WALL_AFTER
    # The last bucket is ended by nothing: the stream is over.
    due = {name: time for name, time in due.items() if not name.startswith("end")}
    fired = [closing for _, _, _, closing in evidence.records(app.closings) if not closing.key.startswith("end")]
    times = Counter(closing.key for closing in fired)
    found = [f"timer {name} has not fired" for name in due.keys() - times.keys()]
    found += [f"timer {name} has fired, but was never set" for name in times.keys() - due.keys()]
    found += [f"timer {name} has fired {n} times" for name, n in times.items() if n != 1]
    found += [f"timer {c.key} has fired at {c.event_time}" for c in fired if c.event_time < due.get(c.key, 0)]
    return _few("timers", found)


def positions(evidence: Evidence) -> list[str]:
    """The real positions: quantity, profit, fees and mark agree with the fills and ticks."""
    fills: dict[str, Fill] = {}
    for _, _, _, fill in evidence.records(house.fills):
        fills.setdefault(fill.fill_id, fill)
    booked: dict[str, list[Fill]] = defaultdict(list)
    for fill in fills.values():
        booked[f"{fill.book}|{fill.instrument}"].append(fill)
    newest: dict[str, tuple[int, Any]] = {}
    for partition, offset, _, tick in evidence.records(house.ticks):
        known = newest.get(tick.instrument)
        if known is None or tick.event_time >= known[0]:
            newest[tick.instrument] = (tick.event_time, (partition, offset, tick.mark))
    shown: dict[str, Any] = {}
    found: list[str] = []
    for _, _, key, position in evidence.records(house.positions):
        if key in shown and position.fills < shown[key].fills:
            found.append(f"positions: {key} went back from {shown[key].fills} to {position.fills} fills")
        shown[key] = position
    if shown.keys() != booked.keys():
        found.append(f"positions: there are {sorted(shown)}, must be {sorted(booked)}")
    for key in shown.keys() & booked.keys():
        quantity, profit = realised(booked[key])
        is_ = shown[key]
        partition, offset, mark = newest[is_.instrument][1]
        where = (is_.marked_by.partition, is_.marked_by.offset, is_.mark)
        if (is_.quantity, is_.fills) != (quantity, len(booked[key])):
            found.append(f"positions: {key} is {is_.quantity} of {is_.fills} fills, must be {quantity} of the input")
        if is_.fees != sum(fill.fee for fill in booked[key]):
            found.append(f"positions: fees of {key} are {is_.fees}")
        if abs(Fraction(is_.realised_pnl) - profit) > Fraction(1, 10**6):
            found.append(f"positions: realised P&L of {key} is {is_.realised_pnl}, must be {float(profit)}")
        if where != (partition, offset, mark):
            found.append(f"positions: {key} is marked by {where}, must be {(partition, offset, mark)}")
    return _few("positions", found)


def dead_letters(evidence: Evidence) -> list[str]:
    """Exactly the poison, each once."""
    poison = {
        evidence.place(topic, partition, entry.offset)
        for topic in (*app.Tally.reads, *Positions.reads)
        for partition, log in evidence.logs[topic.name].items()
        for entry in log
        if POISON in entry.headers
    }
    letters = Counter(str(letter.at) for _, _, _, letter in evidence.records(house.dead_letters))
    found = [f"poison {at} has no dead letter" for at in poison - letters.keys()]
    found += [f"dead letter of {at}, which is sound" for at in letters.keys() - poison]
    found += [f"poison {at} has {n} dead letters" for at, n in letters.items() if n > 1]
    return _few("dead letters", found)


def journal(evidence: Evidence) -> list[str]:
    """Commit numbers without holes; segments that hold every input record once, in order."""
    commits: dict[str, int] = defaultdict(int)
    reached: dict[tuple[str, str, int], int] = {}
    fed: Counter[tuple[str, str]] = Counter()
    found: list[str] = []
    for _, offset, key, entry in evidence.records(house.journal):
        if entry.commit != commits[key] + 1:
            found.append(f"journal@{offset}: commit {entry.commit} of {key} follows {commits[key]}")
        commits[key] = entry.commit
        for segment in entry.segments:
            if segment.first < 0:
                continue
            place = (entry.application, segment.topic, entry.partition)
            if segment.first <= reached.get(place, -1):
                found.append(f"journal@{offset}: {place} was fed {segment.first} after {reached[place]}")
            reached[place] = segment.last
            fed[entry.application, segment.topic] += segment.count
    for processor in app.PROCESSORS:
        for topic in processor.reads:
            given = sum(map(len, evidence.logs[topic.name].values()))
            if (n := fed[processor.name, evidence.cluster.named(topic.name)]) != given:
                found.append(f"journal: {processor.name} was fed {n} records of {topic.name}, which has {given}")
    return _few("journal", found)


def offsets(evidence: Evidence) -> list[str]:
    """Everything is behind the committed offsets."""
    return [f"offsets: {lag} records of {place} are not done" for place, lag in behind(evidence.cluster).items()]


def behind(cluster: Cluster) -> dict[str, int]:
    """Input partitions whose committed offset is below their last record, and by how much."""
    found: dict[str, int] = {}
    admin = cluster.admin()  # must outlive its futures
    for processor in app.PROCESSORS:
        places = [(cluster.named(t.name), p) for t in processor.reads for p in range(app.PARTITIONS)]
        ends = bounds(cluster, places, 30)
        group = cluster.named(processor.name)
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(*place) for place in places])
        answer = admin.list_consumer_group_offsets([asked], request_timeout=30)[group].result()
        for tp in answer.topic_partitions:
            if (lag := ends[tp.topic, tp.partition][1] - max(tp.offset, 0)) > 0:
                found[f"{tp.topic}[{tp.partition}]"] = lag
    return found


def changelog(evidence: Evidence) -> list[str]:
    """Tally's changelog holds the newest sums."""
    prefix = f"{app.Tally.known.name}/"
    state: dict[str, bytes | None] = {}
    for log in evidence.logs[changelog_of(app.Tally.name)].values():
        state.update((entry.key.removeprefix(prefix), entry.value) for entry in log if entry.key.startswith(prefix))
    newest = {key: msgspec.json.encode(total) for _, _, key, total in evidence.records(app.sums)}
    wrong = [key for key in state.keys() | newest.keys() if state.get(key) != newest.get(key)]
    return _few("changelog", [f"changelog: {key} is {state.get(key)!r}, must be {newest.get(key)!r}" for key in wrong])


def witnessed(evidence: Evidence, witness: Witness) -> list[str]:
    """What a live reader saw is a beginning of what is there now: nothing has vanished, nothing came in before it."""
    found = [witness.failed] if witness.failed else []
    for (topic, partition), seen in witness.seen.items():
        log = [(e.offset, hash((e.key.encode(), e.value))) for e in evidence.logs[topic][partition]]
        if seen != log[: len(seen)]:
            at = next(i for i, pair in enumerate(seen) if i >= len(log) or pair != log[i])
            found.append(
                f"live reader: record {at} of {topic}[{partition}] was seen at offset {seen[at][0]}; "
                f"committed is {log[at][0] if at < len(log) else 'nothing'}"
            )
    return _few("live reader", found)


def stood_still(witness: Witness) -> list[str]:
    """A run in which nothing is committed for minutes proves nothing, whoever is to blame."""
    return [
        f"nothing was committed to {stall.place[0]}[{stall.place[1]}] for {stall.seconds:.0f} s from "
        f"{stall.began:.0f} s on: workers that stand still, or more faults than this machine can recover from"
        for stall in witness.stalls.values()
        if stall.seconds > _STILL
    ]


def _few(what: str, found: list[str]) -> list[str]:
    more = len(found) - _SHOWN
    return found[:_SHOWN] + ([f"{what}: {more} more"] if more > 0 else [])
