"""May this principal do what the processes of gridtape do?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, DescribeClusterResult, ResourceType

from schemas.topics import ALL
from streams import pipeline
from streams.commands.checks.finding import Finding, fail, grant, loopback, ok, tool, warn
from streams.commands.checks.lag import groups
from streams.engine.cluster import Cluster
from streams.engine.layout import changelog_of

_PROBE = "doctor"
"""Transactional id that is initialised to see whether that works; nothing is written with it."""
_UNHEARD = logging.Logger("gridtape.doctor.unheard", logging.CRITICAL + 1)
"""For librdkafka's own complaint about what the finding says in words."""


def examine(
    cluster: Cluster, admin: AdminClient, found: DescribeClusterResult, changes: str, timeout: float
) -> list[Finding]:
    """What is guarded, and which right is missing for which process.

    ``changes``: the name under which connectors take changes from ``device-settings``; without it nobody needs that.
    """
    return [
        *_authorizer(cluster, admin, found, timeout),
        *_topics(cluster, admin, changes, timeout),
        *_groups(cluster, admin, timeout),
        *_transactions(cluster, timeout),
    ]


def _authorizer(cluster: Cluster, admin: AdminClient, found: DescribeClusterResult, timeout: float) -> list[Finding]:
    resource = ConfigResource(ResourceType.BROKER, str(found.nodes[0].id))
    try:
        config = admin.describe_configs([resource], request_timeout=timeout)[resource].result()
    except KafkaException:
        return []  # told with the brokers' settings
    name = config["authorizer.class.name"].value if "authorizer.class.name" in config else ""
    if name:
        return [ok(f"access is guarded by {str(name).rpartition('.')[2]}")]
    if loopback(cluster):
        return [ok("no authorizer: whoever can connect may do everything; only this machine can")]
    return [
        warn(
            "no authorizer: whoever can connect may read, write and delete everything, orders and limits included",
            "Set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer and super.users on the "
            "brokers, ask for TLS or SASL on their listeners, then grant what `gridtape doctor` then shows as missing.",
        )
    ]


def _topics(cluster: Cluster, admin: AdminClient, changes: str, timeout: float) -> list[Finding]:
    needs: dict[tuple[AclOperation, str], list[str]] = {}
    for topic in ALL:
        if topic in pipeline.CONFIGURING and not changes:
            continue
        for who in pipeline.writers(topic):
            needs.setdefault((AclOperation.WRITE, topic.name), []).append(_command(who))
        for who in pipeline.readers(topic) if topic not in pipeline.CONFIGURING else ():
            needs.setdefault((AclOperation.READ, topic.name), []).append(_command(who))
    for processor in pipeline.PROCESSORS:
        for operation in (AclOperation.READ, AclOperation.WRITE):
            who = _command(f"processors/{processor.name}")
            needs.setdefault((operation, changelog_of(processor.name)), []).append(who)
    names = sorted({name for _, name in needs})
    described = admin.describe_topics(
        TopicCollection([cluster.named(name) for name in names]),
        include_authorized_operations=True,
        request_timeout=timeout,
    )
    allowed: dict[str, Sequence[AclOperation]] = {}
    for name in names:
        try:
            allowed[name] = described[cluster.named(name)].result().authorized_operations or ()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                allowed[name] = ()
            # one that is missing is told with the layout
    findings = _lacking(cluster, needs, allowed)
    if changes:
        findings += _unfollowed(cluster, changes, allowed)
    return findings or [ok(f"this principal may read and write the {len(allowed)} topics")]


def _lacking(
    cluster: Cluster, needs: Mapping[tuple[AclOperation, str], list[str]], allowed: Mapping[str, Sequence[AclOperation]]
) -> list[Finding]:
    findings = []
    for operation in (AclOperation.READ, AclOperation.WRITE):
        lacking = {
            name: who
            for (wanted, name), who in needs.items()
            if wanted is operation and name in allowed and operation not in allowed[name]
        }
        if not lacking:
            continue
        verb = operation.name.capitalize()
        who = ", ".join(dict.fromkeys(one for those in lacking.values() for one in those))
        what = f"this principal may not {verb.lower()} {', '.join(sorted(lacking))}"
        findings.append(warn(what, f"Needed by whoever runs {who}. {grant(cluster, verb, 'topic', lacking)}"))
    return findings


def _unfollowed(cluster: Cluster, changes: str, allowed: Mapping[str, Sequence[AclOperation]]) -> list[Finding]:
    """Unlike other rights, this one is known to be needed here: the connectors' file lies on this machine."""
    lacking = [
        one.name for one in pipeline.CONFIGURING if one.name in allowed and AclOperation.READ not in allowed[one.name]
    ]
    if not lacking:
        return []
    what = f"the connectors {changes} cannot start: this principal may not read {', '.join(lacking)}"
    command = grant(cluster, "Read", "topic", lacking)
    return [fail(what, f"Grant it, or take `changes` out of the connectors' file. {command}")]


def _command(who: str) -> str:
    """The command that a reader or writer of the wiring is run by."""
    kind, _, name = who.partition("/")
    if who == "operator":
        return "`gridtape publish`, `kill-switch` or `modbus write`"
    if who == "every process":
        return "any of gridtape's processes"
    if kind == "connectors" or who == "every connector":
        return "`gridtape run connectors`"
    return f"`gridtape run {kind} {name}`" if name else "`gridtape run processors`"


def _groups(cluster: Cluster, admin: AdminClient, timeout: float) -> list[Finding]:
    names = [cluster.named(name) for name in groups()]
    described = admin.describe_consumer_groups(names, include_authorized_operations=True, request_timeout=timeout)
    lacking = []
    for name, future in described.items():
        try:
            operations = future.result().authorized_operations
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                lacking.append(name)
            continue
        if operations is not None and AclOperation.READ not in operations:
            lacking.append(name)
    if not lacking:
        return [ok("this principal may join the consumer groups")]
    what = f"this principal may not join the consumer groups {', '.join(lacking)}"
    return [warn(what, grant(cluster, "Read", "group", lacking))]


def _transactions(cluster: Cluster, timeout: float) -> list[Finding]:
    """The broker tells nobody what a principal may do with a transactional id, so one is tried."""
    name = cluster.named(_PROBE)
    settings = {"transactional.id": name, "transaction.timeout.ms": 1_000, "message.timeout.ms": 1_000}
    producer = Producer({**cluster.common, **settings}, logger=_UNHEARD)
    try:
        producer.init_transactions(timeout)
    except KafkaException as error:
        cause = error.args[0]
        if cause.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            command = grant(cluster, "Write", "transactional-id", [f"{one.name}-0" for one in pipeline.PROCESSORS])
            return [warn("this principal may not begin transactions", f"Needed where it runs processors. {command}")]
        return [
            fail(
                f"transactions do not work: {cause.str()}",
                "Is __transaction_state healthy? "
                + tool("kafka-topics", cluster, "--describe --topic __transaction_state"),
            )
        ]
    return [ok("transactions work")]
