"""Is the broker there, is it new enough, and do its own settings let gridtape work?"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigEntry, ConfigResource, DescribeClusterResult, ResourceType

from streams.commands.checks.finding import Finding, fail, ok, tool, warn
from streams.engine.cluster import Cluster
from streams.engine.worker import Options

_API = re.compile(r"\[thrd:\S+/(?P<broker>\d+)\].*ApiKey .*\((?P<key>\d+)\) Versions (?P<least>\d+)\.\.(?P<most>\d+)")
_FETCH, _PRODUCE, _DESCRIBE_TRANSACTIONS, _LIST_CLIENT_METRICS, _DESCRIBE_TOPIC_PARTITIONS = 1, 0, 65, 74, 75
Requests = Mapping[int, tuple[int, int]]
"""Request number to the lowest and highest version of it that a broker understands."""


class Ear(logging.Handler):
    """Hears from librdkafka's log which requests each broker understands; the client does not tell it otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[int, dict[int, tuple[int, int]]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the log."""
        if found := _API.search(record.getMessage()):
            of_broker = self.requests.setdefault(int(found["broker"]), {})
            of_broker[int(found["key"])] = (int(found["least"]), int(found["most"]))


def listening_admin(cluster: Cluster) -> tuple[AdminClient, Ear]:
    """An admin client whose log is heard and not shown."""
    ear = Ear()
    # a logger of its own: nobody else shall hear it
    logger = logging.Logger("gridtape.doctor", logging.DEBUG)
    logger.addHandler(ear)
    return AdminClient({**cluster.common, "debug": "feature"}, logger=logger), ear


def reach(cluster: Cluster, admin: AdminClient, timeout: float) -> DescribeClusterResult | Finding:
    """The cluster's description, or the finding that it does not answer."""
    try:
        found: DescribeClusterResult = admin.describe_cluster(request_timeout=timeout).result(timeout=timeout + 5)
    except (KafkaException, TimeoutError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
        return fail(
            f"Kafka at {cluster.bootstrap} does not answer: {why}",
            "Is the broker running and the address right (GRIDTAPE_KAFKA)? Does it want TLS or SASL, and does "
            "GRIDTAPE_KAFKA_CONFIG name a file with the client's security settings? `gridtape kafka` starts a broker "
            "on this machine.",
        )
    return found


def generation(requests: Requests) -> str:
    """The release whose requests these are. KIP-664, KIP-714, KIP-966, KIP-896 and KIP-516 brought the differences."""
    if _DESCRIBE_TRANSACTIONS not in requests:
        return "older than 3.0"
    if requests.get(_FETCH, (0, 0))[0] >= 4:
        return "4.1 or later" if requests.get(_PRODUCE, (0, 0))[1] >= 13 else "4.0"
    if _DESCRIBE_TOPIC_PARTITIONS in requests:
        return "3.8 or 3.9"
    return "3.7" if _LIST_CLIENT_METRICS in requests else "3.0 to 3.6"


def examine(
    cluster: Cluster, admin: AdminClient, ear: Ear, found: DescribeClusterResult, timeout: float
) -> list[Finding]:
    """Release and settings of each broker."""
    resources = [ConfigResource(ResourceType.BROKER, str(node.id)) for node in found.nodes]
    findings: list[Finding] = []
    for resource, future in admin.describe_configs(resources, request_timeout=timeout).items():
        try:
            config = future.result()
        except KafkaException as error:
            findings.append(
                warn(
                    f"the settings of broker {resource.name} cannot be read: {error.args[0].str()}",
                    "Grant DescribeConfigs on the cluster: "
                    + tool(
                        "kafka-acls", cluster, "--add --allow-principal User:NAME --operation DescribeConfigs --cluster"
                    ),
                )
            )
        else:
            findings += settings(cluster, resource.name, config, len(found.nodes))
    admin.poll(0.1)  # serves the log
    names = {node.id: f"{node.host}:{node.port}" for node in found.nodes}
    head = [ok(f"Kafka cluster {found.cluster_id} answers: {len(names)} broker{'s' * (len(names) > 1)}")]
    for broker, requests in sorted(ear.requests.items()):
        release = generation(requests)
        text = f"broker {broker} at {names.get(broker, '?')} understands the requests of Apache Kafka {release}"
        if release == "older than 3.0":
            head.append(fail(text, "gridtape needs Apache Kafka 3.0 or later: update the broker."))
        else:
            head.append(ok(text))
    if not ear.requests:
        head.append(
            warn("the brokers' release could not be found out", "Make sure that it is Apache Kafka 3.0 or later.")
        )
    return head + findings


def settings(cluster: Cluster, broker: str, config: Mapping[str, ConfigEntry], brokers: int) -> list[Finding]:
    """What in a broker's settings does not fit gridtape."""

    def number(name: str) -> int | None:
        entry = config.get(name)
        return int(entry.value) if entry is not None and entry.value not in (None, "") else None

    def alter(name: str, value: object, *, restart: bool = False) -> str:
        if restart:
            return f"Set {name}={value} in the broker's server.properties and restart it."
        arguments = f"--alter --entity-type brokers --entity-name {broker} --add-config {name}={value}"
        return tool("kafka-configs", cluster, arguments)

    options, findings = Options(), []
    ours = int(options.transaction_timeout * 1000)
    if (most := number("transaction.max.timeout.ms")) is not None and most < ours:
        text = f"broker {broker}: transaction.max.timeout.ms is {most}, below the {ours} that gridtape asks for"
        findings.append(fail(text, alter("transaction.max.timeout.ms", max(ours, 900_000), restart=True)))
    session = int(options.session_timeout * 1000)
    least, longest = number("group.min.session.timeout.ms"), number("group.max.session.timeout.ms")
    if least is not None and longest is not None and not least <= session <= longest:
        text = f"broker {broker}: sessions may last {least} to {longest} ms, gridtape's last {session} ms"
        name = "group.min.session.timeout.ms" if session < least else "group.max.session.timeout.ms"
        findings.append(fail(text, alter(name, session, restart=True)))
    if (minutes := number("offsets.retention.minutes")) is not None and minutes < 24 * 60:
        text = f"broker {broker}: offsets of a stopped group are forgotten after {minutes} minutes"
        how = alter("offsets.retention.minutes", 7 * 24 * 60, restart=True)
        findings.append(warn(text, f"A pipeline that is off for longer would begin anew. {how}"))
    copies = number("transaction.state.log.replication.factor")
    if brokers >= 3 and copies is not None and copies < 3:
        text = (
            f"broker {broker}: the transaction log has {copies} cop{'y' if copies == 1 else 'ies'} on {brokers} brokers"
        )
        how = "Reassign __transaction_state and __consumer_offsets to 3 replicas (kafka-reassign-partitions.sh)."
        findings.append(warn(text, how))
    auto = config.get("auto.create.topics.enable")
    if auto is not None and auto.value == "true":
        text = f"broker {broker} creates any topic that is named to it (auto.create.topics.enable)"
        how = alter("auto.create.topics.enable", "false", restart=True)
        findings.append(warn(text, f"A misspelt prefix would make topics with wrong partitions and retention. {how}"))
    return findings or [ok(f"broker {broker}: transaction, session and retention settings fit")]
