"""How far is each consumer group, and does a transaction hold readers up?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.base import Coordinates
from streams import pipeline
from streams.commands.checks.finding import Finding, fail, ok, tool, warn
from streams.commands.ledger import Ledger, Missing, Place
from streams.engine.cluster import Cluster
from streams.engine.layout import TopicSpec
from streams.engine.worker import Options

SLOW = 60.0
"""Seconds: a record that waits longer for its reader is worth a warning."""
_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Ends:
    """Offsets of a partition: its first, the end of what is committed, its end."""

    low: int
    stable: int
    high: int


@dataclass
class _Behind:
    """How far a group is behind on a topic. ``age``: seconds since its oldest unread record was written."""

    records: int = 0
    age: float = 0.0
    lost: list[str] = field(default_factory=list)
    beyond: list[str] = field(default_factory=list)


def groups() -> dict[str, tuple[Any, ...]]:
    """Every consumer group of the wiring (without prefix) and the topics that it reads."""
    found: dict[str, tuple[Any, ...]] = {processor.name: processor.reads for processor in pipeline.PROCESSORS}
    return found | {f"sink-{name}": read for name, (read, _) in pipeline.SINKS.items()}


def ends_of(cluster: Cluster, admin: AdminClient, names: Iterable[str], timeout: float) -> dict[Place, Ends]:
    """The ends of every partition of those topics (without prefix) that has a leader. Raises KafkaException."""
    present = admin.list_topics(timeout=timeout).topics
    asked = [
        TopicPartition(name, partition)
        for name in map(cluster.named, names)
        if name in present
        for partition, description in present[name].partitions.items()
        if description.leader >= 0  # of others the client must not be asked: see streams.engine.restore
    ]
    if not asked:
        return {}
    low = admin.list_offsets(dict.fromkeys(asked, _EARLIEST), request_timeout=timeout)
    high = admin.list_offsets(dict.fromkeys(asked, _LATEST), request_timeout=timeout)
    stable = admin.list_offsets(
        dict.fromkeys(asked, _LATEST), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=timeout
    )
    found: dict[Place, Ends] = {}
    for tp in asked:
        try:
            offsets = [answer[tp].result().offset for answer in (low, stable, high)]
        except KafkaException:
            continue  # no broker leads it: told with the topics
        found[tp.topic, tp.partition] = Ends(*offsets)
    return found


def examine(cluster: Cluster, admin: AdminClient, now: float, timeout: float) -> list[Finding]:
    """One finding per consumer group. ``now``: seconds since the epoch."""
    findings: list[Finding] = []
    found: dict[str, tuple[int, dict[Place, int]]] = {}
    never: list[str] = []
    described = admin.describe_consumer_groups([cluster.named(name) for name in groups()], request_timeout=timeout)
    for name, read in groups().items():
        group = cluster.named(name)
        asked = ConsumerGroupTopicPartitions(group)
        try:
            state = described[group].result()
            answer = admin.list_consumer_group_offsets([asked], request_timeout=timeout)[group].result()
        except KafkaException as error:
            findings.append(warn(f"group {group} cannot be examined: {error.args[0].str()}", "Grant Describe on it."))
            continue
        topics = {cluster.named(topic.name) for topic in read}
        committed = {
            (tp.topic, tp.partition): tp.offset
            for tp in answer.topic_partitions or ()
            if tp.topic in topics and tp.offset >= 0
        }
        found[name] = (len(state.members) if state.state is not ConsumerGroupState.EMPTY else 0, committed)
    # The ends are asked for after the offsets: the other way round, who reads fast would seem to be beyond the end.
    ends = ends_of(cluster, admin, {topic.name for read in groups().values() for topic in read}, timeout)
    with Ledger(cluster, timeout) as ledger:
        for name, (running, committed) in found.items():
            if not committed and not running and not name.startswith("sink-"):
                never.append(name)
                continue
            behind = _behind(ledger, committed, ends, now)
            findings += _group(cluster, cluster.named(name), name, running, committed, behind)
    if never:
        every = len(never) == len(pipeline.PROCESSORS)
        who = "" if every else " " + " ".join(never)
        what = "no processor has run on this cluster yet" if every else f"never run on this cluster:{who}"
        findings.append(warn(what, f"Start: `gridtape run processors{who}`."))
    return findings


def _behind(
    ledger: Ledger, committed: Mapping[Place, int], ends: Mapping[Place, Ends], now: float
) -> dict[str, _Behind]:
    found: dict[str, _Behind] = defaultdict(_Behind)
    for place, offset in committed.items():
        end = ends.get(place)
        if end is None:
            continue
        behind = found[place[0]]
        if offset < end.low:
            behind.lost.append(f"{place[0]}[{place[1]}] is at {offset}, the topic begins at {end.low}")
        elif offset > end.high:
            behind.beyond.append(f"{place[0]}[{place[1]}] is at {offset}, the topic ends at {end.high}")
        elif offset < end.stable:
            # The rest may be nothing but the marks of transactions: only a record that is there counts.
            try:
                message = ledger.following(Coordinates(topic=place[0], partition=place[1], offset=offset))
            except Missing:
                continue
            if message is not None:
                behind.records += end.stable - (message.offset() or 0)
                behind.age = max(behind.age, now - message.timestamp()[1] / 1000)
    return found


def _group(
    cluster: Cluster,
    group: str,
    name: str,
    running: int,
    committed: Mapping[Place, int],
    behind: Mapping[str, _Behind],
) -> list[Finding]:
    sink = name.startswith("sink-")
    start = "`gridtape run sinks`" if sink else f"`gridtape run processors {name}`"
    if not committed:
        if running:
            return [ok(f"group {group}: {_members(running)}, nothing to read so far")]
        return [ok(f"group {group} has never run on this cluster (sinks run where they are set up)")]
    findings = []
    for one in behind.values():
        reset = tool(
            "kafka-consumer-groups", cluster, f"--group {group} --reset-offsets --to-earliest --topic TOPIC --execute"
        )
        if one.lost:
            how = (
                f"Records were deleted unread. Lengthen the retention; then knowingly go on with what is left: {reset}"
            )
            findings.append(fail(f"group {group}: {'; '.join(one.lost)}", how))
        if one.beyond:
            how = f"The topic was deleted and made anew. Knowingly begin with it: {reset}"
            findings.append(fail(f"group {group}: {'; '.join(one.beyond)}", how))
    waiting = {topic: one for topic, one in behind.items() if one.records}
    if not waiting:
        if not running and not sink:
            text = f"group {group} does not run; so far it has read everything"
            return findings or [warn(text, f"What comes from now on is not decided upon. Start it: {start}.")]
        return findings or [ok(f"group {group}: {_members(running)}, has read everything")]
    text = ", ".join(
        f"{one.records:,} records ({one.age:.0f} s) of {cluster.bare(topic)}" for topic, one in sorted(waiting.items())
    )
    oldest = max(one.age for one in waiting.values())
    if not running and not (sink and oldest <= SLOW):  # a sink may read without being a member of its group
        return [*findings, warn(f"group {group} does not run, and is behind by {text}", f"Start it: {start}.")]
    if oldest > SLOW:
        how = (
            "Run it in more processes (`--slot 1`, up to the number of partitions); the metric "
            "gridtape_engine_commit_seconds shows what takes long."
            if not sink
            else "Its destination is slow or away: see the log of `gridtape run sinks` and gridtape_sink_ metrics."
        )
        return [*findings, warn(f"group {group} is behind by {text}", how)]
    return [*findings, ok(f"group {group}: {_members(running)}, {text} on their way")]


def _members(count: int) -> str:
    return f"{count} member{'' if count == 1 else 's'}" if count else "no member"


def stuck_transactions(
    cluster: Cluster, specs: Sequence[TopicSpec], ends: Mapping[Place, Ends], now: float, timeout: float
) -> list[Finding]:
    """Partitions that committed readers cannot pass, for longer than any transaction of gridtape may be open."""
    findings: list[Finding] = []
    longest = Options().transaction_timeout
    held = {place: end.stable for place, end in ends.items() if end.stable < end.high}
    for (topic, partition), offset in sorted(held.items()):
        age = now - _written(cluster, topic, partition, offset, now, timeout)
        if age > 2 * longest:
            arguments = f"abort --topic {topic} --partition {partition} --start-offset {offset}"
            findings.append(
                fail(
                    f"an open transaction holds up {topic}[{partition}] at offset {offset} since {age:.0f} s",
                    "The broker ends it at its transaction.timeout.ms. If it does not: "
                    + tool("kafka-transactions", cluster, "find-hanging --broker-id N")
                    + ", then "
                    + tool("kafka-transactions", cluster, arguments),
                )
            )
    count = len({place for place in ends if cluster.bare(place[0]) in {spec.name for spec in specs}})
    return findings or [ok(f"no transaction holds up any of {count} partitions")]


def _written(cluster: Cluster, topic: str, partition: int, offset: int, now: float, timeout: float) -> float:
    """When the first record of an open transaction was written, seconds since the epoch; ``now`` when it is over."""
    consumer = cluster.reader("ledger", isolation_level="read_uncommitted", auto_offset_reset="error")
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        message = consumer.poll(timeout)
        return now if message is None or message.error() is not None else message.timestamp()[1] / 1000
    finally:
        consumer.close()
