"""Are the topics as the wiring needs them, and do their copies live?"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType, TopicMetadata

from streams.commands.checks.finding import Finding, fail, grant, ok, tool, warn
from streams.engine.cluster import Cluster
from streams.engine.layout import UNREADABLE, TopicSpec, differences


def examine(cluster: Cluster, admin: AdminClient, specs: Sequence[TopicSpec], timeout: float) -> list[Finding]:
    """Every difference with the command that mends it, then the state of the copies."""
    metadata = admin.list_topics(timeout=timeout)
    brokers = len(metadata.brokers)
    findings: list[Finding] = []
    by_name = {cluster.named(spec.name): spec for spec in specs}
    differing = differences(cluster, specs, timeout)
    if hidden := _hidden(admin, [name for name, what in differing.items() if what == ["is missing"]], timeout):
        findings.append(
            _ungranted(
                cluster,
                hidden,
                f"this principal may not see {_listed(hidden)}: gridtape takes {_them(hidden)} for missing",
                "Describe",
            )
        )
    if unreadable := sorted(name for name, what in differing.items() if UNREADABLE in what):
        text = f"this principal may not read the settings of {_listed(unreadable)}: no process of gridtape starts"
        findings.append(_ungranted(cluster, unreadable, text, "DescribeConfigs"))
    differing = {
        name: [one for one in what if one != UNREADABLE] for name, what in differing.items() if name not in hidden
    }
    if len(differing) == len(specs) and all(what == ["is missing"] for what in differing.values()):
        return [
            warn(
                f"none of gridtape's {len(specs)} topics exists yet"
                + (f" with the prefix {cluster.prefix}-" if cluster.prefix else ""),
                "`gridtape run processors` or `gridtape publish FILE` makes them. Is GRIDTAPE_TOPIC_PREFIX right?",
            )
        ]
    for name, what in sorted(differing.items()):
        findings += [_difference(cluster, by_name[name], name, difference, brokers) for difference in what]
    present = {name: metadata.topics[name] for name in by_name if name in metadata.topics}
    if not findings:
        findings.append(ok(f"all {len(specs)} topics are as the wiring needs them"))
    return findings + _copies(cluster, admin, present, brokers, timeout)


def _hidden(admin: AdminClient, missing: list[str], timeout: float) -> list[str]:
    """Those that seem to be missing because this principal may not know of them."""
    if not missing:
        return []
    hidden = []
    for name, future in admin.describe_topics(TopicCollection(missing), request_timeout=timeout).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                hidden.append(name)
    return sorted(hidden)


def _ungranted(cluster: Cluster, names: list[str], what: str, operation: str) -> Finding:
    return fail(what, f"Grant it, also to the principals of the processes: {grant(cluster, operation, 'topic', names)}")


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _difference(cluster: Cluster, spec: TopicSpec, name: str, difference: str, brokers: int) -> Finding:
    if difference == "is missing":
        config = "".join(f" --config {key}={value}" for key, value in spec.config.items())
        arguments = (
            f"--create --topic {name} --partitions {spec.partitions} --replication-factor {min(3, brokers)}{config}"
        )
        how = "gridtape makes it when it next starts, where it may; or: " + tool("kafka-topics", cluster, arguments)
        return fail(f"topic {name} is missing", how)
    text = f"topic {name}: {difference}"
    setting = difference.partition(":")[0]
    if setting == "partitions":
        return fail(
            text,
            "Changing the partitions of a topic moves keys away from their state. Set GRIDTAPE_PARTITIONS to what all "
            "topics have; or let gridtape make its own ones under another GRIDTAPE_TOPIC_PREFIX.",
        )
    value = spec.config[setting]
    arguments = f"--alter --entity-type topics --entity-name {name} --add-config {setting}={value}"
    return fail(text, tool("kafka-configs", cluster, arguments))


def _copies(
    cluster: Cluster, admin: AdminClient, present: dict[str, TopicMetadata], brokers: int, timeout: float
) -> list[Finding]:
    findings: list[Finding] = []
    leaderless = [f"{n}[{p.id}]" for n, topic in present.items() for p in topic.partitions.values() if p.leader < 0]
    if leaderless:
        how = "Bring back a broker that has a copy: " + tool(
            "kafka-topics", cluster, "--describe --unavailable-partitions"
        )
        findings.append(fail(f"no broker leads {_listed(leaderless)}", how))
    behind = [
        f"{name}[{p.id}]"
        for name, topic in present.items()
        for p in topic.partitions.values()
        if p.leader >= 0 and len(p.isrs) < len(p.replicas)
    ]
    if behind:
        how = tool("kafka-topics", cluster, "--describe --under-replicated-partitions")
        findings.append(
            warn(f"copies are behind or gone: {_listed(behind)}", f"Look at the brokers that hold them: {how}")
        )
    copies = {name: min(len(p.replicas) for p in topic.partitions.values()) for name, topic in present.items()}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in copies]
    configs = admin.describe_configs(resources, request_timeout=timeout) if resources else {}
    for resource, future in configs.items():
        try:
            least = int(future.result()["min.insync.replicas"].value)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                continue  # told with what differs
            findings.append(
                warn(f"topic {resource.name}: settings cannot be read: {error.args[0].str()}", "Grant DescribeConfigs.")
            )
            continue
        have = copies[resource.name]
        arguments = f"--alter --entity-type topics --entity-name {resource.name} --add-config min.insync.replicas="
        if least > have:
            how = tool("kafka-configs", cluster, f"{arguments}{max(1, have - 1)}")
            findings.append(
                fail(f"topic {resource.name}: min.insync.replicas {least} of {have} copies: no write succeeds", how)
            )
        elif have > 1 and least == have:
            how = tool("kafka-configs", cluster, f"{arguments}{have - 1}")
            findings.append(
                warn(f"topic {resource.name}: all {have} copies must be in sync: one broker down stops it", how)
            )
        elif have >= 3 and least == 1:
            how = tool("kafka-configs", cluster, f"{arguments}2")
            findings.append(warn(f"topic {resource.name}: one copy of {have} may acknowledge alone and be lost", how))
    single = [name for name, count in copies.items() if count == 1]
    if single and brokers > 1:
        how = "Reassign them to 3 replicas (kafka-reassign-partitions.sh); GRIDTAPE_REPLICATION=3 is for new ones."
        findings.append(warn(f"{len(single)} topics have a single copy on a cluster of {brokers} brokers", how))
    elif single and not findings:
        findings.append(ok("one broker, one copy of everything: right for one machine, not for a plant"))
    elif not findings:
        findings.append(ok("every partition has a leader and all its copies"))
    return findings


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
