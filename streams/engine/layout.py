"""Topics as they must be: created when missing, compared when there, never changed silently."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType

from streams.engine.cluster import Cluster
from streams.engine.errors import Fatal, classify


@dataclass(frozen=True)
class TopicSpec:
    """What a topic must be like. ``name`` is without prefix; ``config`` holds broker topic settings as text."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


UNREADABLE = "this principal may not read its settings (DescribeConfigs)"
"""What differs of a topic that is there, and of which no more can be known."""


def changelog_of(application: str) -> str:
    """Name of an application's changelog topic."""
    return f"{application}-changelog"


def differences(cluster: Cluster, specs: Iterable[TopicSpec], timeout: float = 15.0) -> dict[str, list[str]]:
    """For each topic that is missing or differs: what differs, as ``setting: is X, must be Y``. Changes nothing.

    Raises Fatal when the cluster cannot be asked.
    """
    wanted = {cluster.named(spec.name): spec for spec in specs}
    admin = cluster.admin()
    try:
        present = admin.list_topics(timeout=timeout).topics
    except KafkaException as error:
        raise Fatal(_unreachable(cluster, error)) from error
    found: dict[str, list[str]] = {}
    resources = []
    for name, spec in wanted.items():
        if name not in present:
            found[name] = ["is missing"]
            continue
        actual = len(present[name].partitions)
        if actual != spec.partitions:
            found.setdefault(name, []).append(f"partitions: is {actual}, must be {spec.partitions}")
        resources.append(ConfigResource(ResourceType.TOPIC, name))
    if resources:
        for resource, future in admin.describe_configs(resources, request_timeout=timeout).items():
            try:
                config = future.result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:  # deleted a moment ago
                    found[resource.name] = ["is missing"]
                    continue
                if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    found.setdefault(resource.name, []).append(UNREADABLE)
                    continue
                raise classify(error, f"reading the settings of topic {resource.name}") from error
            for setting, must in wanted[resource.name].config.items():
                value = config[setting].value if setting in config else None
                if value != must:
                    found.setdefault(resource.name, []).append(f"{setting}: is {value}, must be {must}")
    return found


def ensure(cluster: Cluster, specs: Iterable[TopicSpec], *, replication: int = 1, timeout: float = 30.0) -> list[str]:
    """Create the topics that are missing; return their names.

    Raises Fatal with every difference when an existing topic is not as it must be: changing partitions would move keys
    to other tasks, and a retention that somebody set by hand was set for a reason.
    """
    specs = list(specs)
    found = differences(cluster, specs, timeout)
    missing = [spec for spec in specs if found.get(cluster.named(spec.name)) == ["is missing"]]
    refuse(found)
    if missing:
        _create(cluster, missing, replication, timeout)
        _await(cluster, missing, timeout)
    return [cluster.named(spec.name) for spec in missing]


def refuse(found: dict[str, list[str]]) -> None:
    """Raise Fatal with every difference of topics that exist."""
    wrong = {name: what for name, what in found.items() if what != ["is missing"]}
    if wrong:
        lines = [f"  {name}: {difference}" for name, what in sorted(wrong.items()) for difference in what]
        raise Fatal(
            "these topics exist but are not as gridtape needs them:\n"
            + "\n".join(lines)
            + "\nAlter them with Kafka's own tools (`gridtape doctor` gives the commands), or let gridtape make its "
            "own ones under another prefix (setting topic_prefix)."
        )


def _create(cluster: Cluster, specs: list[TopicSpec], replication: int, timeout: float) -> None:
    new = [
        NewTopic(cluster.named(s.name), num_partitions=s.partitions, replication_factor=replication, config=s.config)
        for s in specs
    ]
    admin = cluster.admin()  # must outlive its futures
    for name, future in admin.create_topics(new, operation_timeout=timeout).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
                raise Fatal(f"topic {name} could not be created: {error.args[0].str()}") from error


def _await(cluster: Cluster, specs: list[TopicSpec], timeout: float) -> None:
    """The controller has answered, the brokers may not have heard yet: a reader would be told of no topic."""
    admin, names = cluster.admin(), {cluster.named(spec.name) for spec in specs}
    deadline = time.monotonic() + timeout
    while missing := names - admin.list_topics(timeout=timeout).topics.keys():
        if time.monotonic() > deadline:
            raise Fatal(f"topics {', '.join(sorted(missing))} were created, but no broker knows them: try again")
        time.sleep(0.02)


def _unreachable(cluster: Cluster, error: KafkaException) -> str:
    return (
        f"Kafka at {cluster.bootstrap} does not answer ({error.args[0].str()}). Is the broker running and the address "
        "right? `gridtape kafka` starts one on this machine; GRIDTAPE_KAFKA=host:port names your own."
    )
