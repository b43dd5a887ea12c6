"""Starting an application afresh, or letting it go on with what is left: what that changes, and changing it.

A worker that finds state, offsets and topics no longer belonging together stops. Here somebody decides what is to be
given up. The new state, the offsets and a journal record go into one transaction; only the changelog topic is deleted
and created before it, and a worker that starts in between stops again. Commit numbers go on where they were, so that
no id that was made of one is ever given again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition

from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.errors import Fatal, classify
from streams.engine.identity import Identities, Mark
from streams.engine.layout import TopicSpec, changelog_of
from streams.engine.partitions import partition_of
from streams.engine.ports import Headers, JournalEntry, Vocabulary
from streams.engine.restore import bounds
from streams.engine.stamps import commit_of, stamp
from streams.engine.state import COUNTERS

_TIMEOUT = 30.0
"""Seconds for one answer of Kafka; longer than a dead worker's transaction stays open."""
_TAIL = 20_000
"""Offsets at a changelog's end among which the number of the last commit is looked for."""
_NOTHING = hashlib.blake2b(digest_size=16).hexdigest()


class Start(Enum):
    """From where an application goes on, besides a time in microseconds."""

    BEGINNING = "beginning"
    END = "end"
    LEFT = "left"
    """With its state, at the first record that is still there, wherever it has not come that far."""


@dataclass(frozen=True)
class Move:
    """What becomes of the committed offset of an input partition. ``topic``: as on the cluster."""

    topic: str
    partition: int
    low: int
    high: int
    committed: int | None
    to: int
    metadata: str = ""

    @property
    def again(self) -> int:
        """How many offsets would be processed a second time."""
        return max(0, min(self.high, self.committed or 0) - max(self.low, self.to))

    @property
    def skipped(self) -> int:
        """How many offsets that are still there would never be processed."""
        return max(0, self.to - max(self.low, self.committed or 0))

    @property
    def lost(self) -> int:
        """How many offsets were never processed and are gone."""
        return max(0, self.low - self.committed) if self.committed is not None else 0


@dataclass(frozen=True)
class Plan:
    """What a reset changes. ``commits``: the number of each task's last commit. ``changelog``: offsets in each of its
    partitions, all to be deleted; None when the state is kept. ``members``: who is still at work."""

    application: str
    moves: list[Move]
    commits: dict[int, int]
    changelog: dict[int, int] | None
    members: list[str]


class Reset:
    """Plans and carries out a reset of one application. Every method raises EngineErrors."""

    def __init__(
        self,
        cluster: Cluster,
        processor: type[Any],
        specs: Iterable[TopicSpec],
        vocabulary: Vocabulary,
        partitions: int,
    ) -> None:
        """``specs``: of every topic, as they must be."""
        self._cluster = cluster
        self._admin = cluster.admin()
        self._processor = processor
        self._specs = list(specs)
        self._vocabulary = vocabulary
        self._partitions = partitions
        self._group = cluster.named(processor.name)
        self._bare_changelog = changelog_of(processor.name)
        self._changelog = cluster.named(self._bare_changelog)
        self._inputs = {cluster.named(topic.name): topic for topic in processor.reads}

    # --- what it would change ----------------------------------------------------------------------------------

    def plan(self, start: Start | int) -> Plan:
        """Look, and change nothing. ``start``: also a time in microseconds, of Kafka's timestamps."""
        try:
            differing = layout.differences(self._cluster, self._specs, _TIMEOUT)
            differing.pop(self._changelog, None)
            layout.refuse(differing)
            members = self._members()
            reader = self._cluster.reader(self._processor.name, enable_partition_eof=True)
            try:
                return self._look(reader, start, members, differing)
            finally:
                reader.close()
        except KafkaException as error:
            raise classify(error, f"looking at {self._group}") from error

    def _look(self, reader: Consumer, start: Start | int, members: list[str], missing: Iterable[str]) -> Plan:
        places = [(name, p) for p in range(self._partitions) for name in self._inputs if name not in missing]
        # With read_committed this waits for the transaction of a worker that died.
        committed = {
            (tp.topic, tp.partition): tp
            for tp in reader.committed([TopicPartition(*place) for place in places], _TIMEOUT)
        }
        ends = bounds(self._cluster, places, _TIMEOUT)
        targets = self._targets(reader, start, ends)
        moves, commits = [], dict.fromkeys(range(self._partitions), 0)
        for place in places:
            known = committed[place]
            if known.error is not None:
                raise classify(known.error, f"reading the committed offset of {place[0]}[{place[1]}]")
            offset = known.offset if known.offset >= 0 else None
            if mark := Mark.parse(known.metadata):
                commits[place[1]] = max(commits[place[1]], mark.commit)
            low, high = ends[place]
            to = targets[place]
            if start is Start.LEFT:
                to = low if offset is None else min(max(offset, low), high)
            moves.append(Move(*place, low, high, offset, to, known.metadata or ""))
        for partition, number in self._numbers(reader, settled=not members).items():
            commits[partition] = max(commits.get(partition, 0), number)
        kept = start is Start.LEFT
        return Plan(self._processor.name, moves, commits, None if kept else self._sizes(), members)

    def _targets(
        self, reader: Consumer, start: Start | int, ends: dict[tuple[str, int], tuple[int, int]]
    ) -> dict[tuple[str, int], int]:
        """What is broadcast is always read from its beginning: limits and rules are in force, however old."""
        found = {place: low for place, (low, _) in ends.items()}
        later = [place for place in ends if not self._inputs[place[0]].broadcast]
        if start is Start.END:
            found.update((place, ends[place][1]) for place in later)
        elif isinstance(start, int):
            asked = [TopicPartition(*place, start // 1000) for place in later]
            for tp in reader.offsets_for_times(asked, _TIMEOUT):
                if tp.error is not None:
                    raise classify(tp.error, f"looking for a time in {tp.topic}[{tp.partition}]")
                place = tp.topic, tp.partition
                found[place] = tp.offset if tp.offset >= 0 else ends[place][1]
        return found

    def _members(self) -> list[str]:
        answer = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT)[self._group]
        try:
            found = answer.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return []
            raise
        if found.state is ConsumerGroupState.DEAD:
            return []
        return sorted(f"{member.client_id} ({member.host})" for member in found.members)

    def _places(self) -> list[tuple[str, int]]:
        found = self._admin.list_topics(timeout=_TIMEOUT).topics.get(self._changelog)
        return [(self._changelog, p) for p in found.partitions] if found else []

    def _sizes(self) -> dict[int, int]:
        ends = bounds(self._cluster, self._places(), _TIMEOUT)
        return {partition: high - low for (_, partition), (low, high) in ends.items()}

    def _numbers(self, reader: Consumer, *, settled: bool) -> dict[int, int]:
        """The number of the last commit in each changelog partition."""
        ends = bounds(self._cluster, self._places(), _TIMEOUT)
        if settled:
            self._await_settled(ends)
        found = {partition: 0 for _, partition in ends}
        open_ = set(found)
        reader.assign([TopicPartition(*place, max(low, high - _TAIL)) for place, (low, high) in ends.items()])
        deadline = time.monotonic() + _TIMEOUT
        while open_:
            if time.monotonic() > deadline:
                raise Fatal(f"{self._changelog}[{min(open_)}] cannot be read to its end in {_TIMEOUT:g} s: try again")
            for message in reader.consume(10_000, 0.1):
                partition, headers = _told(message)
                error = message.error()
                if error is None:
                    found[partition] = max(found[partition], commit_of(headers) or 0)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_.discard(partition)
                else:
                    raise classify(error, f"reading {self._changelog}[{partition}]")
        return found

    def _await_settled(self, ends: dict[tuple[str, int], tuple[int, int]]) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            stable = bounds(self._cluster, ends, _TIMEOUT, committed=True)
            held = [place for place in ends if stable[place][1] < ends[place][1]]
            if not held:
                return
            if time.monotonic() > deadline:
                raise Fatal(
                    f"a transaction is open on {held[0][0]}[{held[0][1]}] since more than {_TIMEOUT:g} s: a worker of "
                    f"{self._processor.name} is still at work, outside the group; find it and stop it"
                )
            time.sleep(0.2)

    # --- changing it -------------------------------------------------------------------------------------------

    def carry_out(self, plan: Plan) -> None:
        """Do it. Raises Fatal when somebody is at work; whatever is raised, calling it again finishes it."""
        try:
            if members := self._members():
                raise Fatal(
                    f"{self._group} is at work: {', '.join(members)}. Stop every `gridtape run processors` that runs "
                    f"{self._processor.name} first; one that was killed or has given up counts for another 10 seconds."
                )
            if plan.changelog is not None:
                self._renew_changelog()
            self._write(plan)
        except KafkaException as error:
            raise classify(error, f"resetting {self._group}") from error

    def _renew_changelog(self) -> None:
        copies = self._copies()
        try:
            self._admin.delete_topics([self._changelog], operation_timeout=_TIMEOUT)[self._changelog].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        deadline = time.monotonic() + _TIMEOUT
        while self._changelog in self._admin.list_topics(timeout=_TIMEOUT).topics:
            if time.monotonic() > deadline:
                raise Fatal(f"topic {self._changelog} is not deleted after {_TIMEOUT:g} s: try again")
            time.sleep(0.05)
        while self._changelog not in layout.ensure(self._cluster, self._specs, replication=copies):
            if time.monotonic() > deadline:
                raise Fatal(f"topic {self._changelog} cannot be created anew: try again")
            time.sleep(0.05)

    def _copies(self) -> int:
        """As many copies as the first input has, or the changelog had."""
        topics = self._admin.list_topics(timeout=_TIMEOUT).topics
        names = [name for name in (self._changelog, *self._inputs) if name in topics]
        return max((len(p.replicas) for name in names for p in topics[name].partitions.values()), default=1)

    def _write(self, plan: Plan) -> None:
        producer = self._cluster.publisher(
            self._bare_changelog, transactional_id=f"{self._group}-reset", transaction_timeout_ms=60_000
        )
        reader = self._cluster.reader(self._processor.name)  # not a member: the group lets it in while it is empty
        helper = self._cluster.helper(f"{self._group}-reset-offsets")
        try:
            offsets = list(self._offsets(plan))
            producer.init_transactions(_TIMEOUT)
            producer.begin_transaction()
            if plan.changelog is not None:
                self._begin_state(producer, plan)
            helper.run(
                lambda: producer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), _TIMEOUT),
                _TIMEOUT + 1,
            )
            producer.commit_transaction(_TIMEOUT)
        except TimeoutError:
            raise Fatal(f"the coordinator of {self._group} gave no answer for {_TIMEOUT:g} s: try again") from None
        finally:
            helper.close()
            reader.close()

    def _begin_state(self, producer: Any, plan: Plan) -> None:
        """The changelog begins with the number of a commit that was fed nothing, and the journal tells of it."""
        for partition in range(self._partitions):
            number = plan.commits[partition] + 1
            key, value = f"{COUNTERS}/commits".encode(), b"%d" % number
            producer.produce(self._changelog, value, key, partition, headers=stamp(number))
            told = self._vocabulary.journal(JournalEntry(plan.application, partition, number, [], 0, _NOTHING, 0))
            place = told.route if isinstance(told.route, int) else partition_of(told.route, self._partitions)
            producer.produce(self._cluster.named(told.topic), told.value, told.key, place, headers=told.headers)

    def _offsets(self, plan: Plan) -> Iterator[TopicPartition]:
        if plan.changelog is None:
            for move in plan.moves:
                if move.committed is not None and move.to != move.committed:
                    yield TopicPartition(move.topic, move.partition, move.to, move.metadata)
            return
        identities = Identities(
            self._admin,
            self._cluster.clock,
            self._processor.name,
            self._inputs,
            self._changelog,
            self._partitions,
            _TIMEOUT,
        )
        identities.look()
        known = {(move.topic, move.partition): move.to for move in plan.moves}
        for partition in range(self._partitions):
            for name in self._inputs:  # one that was missing begins at 0
                mark = identities.mark(name, plan.commits[partition] + 1)
                yield TopicPartition(name, partition, known.get((name, partition), 0), mark)


def _told(message: Any) -> tuple[int, Headers]:
    return message.partition(), message.headers()
