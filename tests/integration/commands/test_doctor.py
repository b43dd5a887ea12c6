from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from msgspec import structs
from rich.console import Console

from schemas import topics
from schemas.base import Coordinates
from schemas.dead_letters import DeadLetter
from schemas.devices import Device, DeviceState
from streams import pipeline
from streams.commands.checks import lag
from streams.commands.describe import moment
from streams.commands.doctor import Finding, Level, examine, render
from streams.engine import layout
from streams.engine.cluster import Cluster
from streams.engine.errors import Fatal
from streams.local.kafka import Kafka
from tests.conftest import wait_until
from tests.topic import expire, remove_tenant

STRICT = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
transaction.max.timeout.ms=5000
offsets.retention.minutes=30
auto.create.topics.enable=true
"""


def text_of(findings: list[Finding], level: Level | None = None) -> str:
    return "\n".join(f"{f.what} | {f.how}" for f in findings if level in (None, f.level))


@pytest.fixture
def laid_out(kafka: str) -> Iterator[Cluster]:
    cluster = Cluster(kafka, prefix=f"doc{time.time_ns() % 10**9}")
    specs, admin = pipeline.layout(2), cluster.admin()
    layout.ensure(cluster, specs)
    deadline = time.monotonic() + 20  # the controller has answered, the broker may not lead them all yet
    while len(lag.ends_of(cluster, admin, [spec.name for spec in specs], 10)) < 2 * len(specs):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield cluster
    remove_tenant(cluster)


def test_examine_when_all_is_well_finds_nothing_to_mend_and_leaves_nothing_behind(day):
    before = set(day.cluster.admin().list_topics(timeout=10).topics)

    findings = examine(day.cluster, pipeline.layout(2))

    assert text_of(findings, Level.FAIL) == ""
    assert text_of(findings, Level.WARN) == ""
    text = text_of(findings)
    for part in (
        "understands the requests of Apache Kafka 4.1 or later",
        f"all {len(pipeline.layout(2))} topics are as the wiring needs them",
        "only this machine can",
        "transactions work",
        "the clock of broker 1",
        f"group {day.cluster.named('gate')}: 1 member",
        f"no transaction holds up any of {2 * len(pipeline.layout(2))} partitions",
        "no dead letters in the last hour",
    ):
        assert part in text
    assert {name for name in day.cluster.admin().list_topics(timeout=10).topics if "doctor" in name} <= before


def test_examine_when_nothing_listens_is_one_failure_that_says_what_to_do():
    (finding,) = examine(Cluster("127.0.0.1:1"), pipeline.layout(2), timeout=1.0)

    assert finding.level is Level.FAIL
    assert "127.0.0.1:1 does not answer" in finding.what
    assert "`gridtape kafka`" in finding.how


def test_examine_when_gridtape_never_ran_says_how_to_begin(kafka):
    findings = examine(Cluster(kafka, prefix="neverran"), pipeline.layout(2))

    missing = f"none of gridtape's {len(pipeline.layout(2))} topics exists yet with the prefix neverran-"
    assert missing in text_of(findings, Level.WARN)
    assert text_of(findings, Level.FAIL) == ""


def test_examine_when_topics_differ_gives_the_command_for_each(laid_out):
    admin = laid_out.admin()
    ticks, gaps = laid_out.named("ticks"), laid_out.named("gaps")
    resource = ConfigResource(ResourceType.TOPIC, ticks)
    for name, value in (("retention.ms", "1000"), ("min.insync.replicas", "2")):
        resource.add_incremental_config(ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET))
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(10)
    admin.delete_topics([gaps])[gaps].result(10)
    wait_until(lambda: gaps not in admin.list_topics(timeout=10).topics)  # a broker learns of it a moment later

    failures = text_of(examine(laid_out, pipeline.layout(2)), Level.FAIL)

    assert f"topic {gaps} is missing" in failures
    assert f"--create --topic {gaps} --partitions 2 --replication-factor 1 --config cleanup.policy=delete" in failures
    assert f"topic {ticks}: retention.ms: is 1000, must be {topics.ticks.retention_ms}" in failures
    assert f"--alter --entity-type topics --entity-name {ticks} --add-config retention.ms=604800000" in failures
    assert f"topic {ticks}: min.insync.replicas 2 of 1 copies: no write succeeds" in failures


def test_examine_when_partitions_differ_does_not_advise_to_add_some(laid_out):
    failures = text_of(examine(laid_out, pipeline.layout(3)), Level.FAIL)

    assert f"topic {laid_out.named('ticks')}: partitions: is 2, must be 3" in failures
    assert "moves keys away from their state" in failures
    assert "--alter" not in failures


def test_examine_when_group_stopped_behind_or_lost_records_says_how_many_and_how_to_go_on(laid_out):
    name = laid_out.named("ticks")
    producer = Producer(laid_out.common)
    for partition in (0, 1):
        for _ in range(10):
            producer.produce(name, b"{}", b"WTI", partition)
    assert producer.flush(10) == 0
    for group, offsets in (("positions", (4, 10)), ("arrival", (0, 99))):
        consumer = laid_out.reader(group)
        consumer.commit(offsets=[TopicPartition(name, p, o) for p, o in enumerate(offsets)], asynchronous=False)
        consumer.close()
    expire(laid_out.admin(), name, 0, 2)

    findings = examine(laid_out, pipeline.layout(2))

    stopped = f"group {laid_out.named('positions')} does not run, and is behind by 6 records"
    assert stopped in text_of(findings, Level.WARN)
    assert "Start it: `gridtape run processors positions`." in text_of(findings, Level.WARN)
    failures = text_of(findings, Level.FAIL)
    assert f"{name}[0] is at 0, the topic begins at 2" in failures
    assert f"{name}[1] is at 99, the topic ends at 10" in failures
    assert f"--group {laid_out.named('arrival')} --reset-offsets --to-earliest" in failures


def test_stuck_transactions_when_one_is_open_too_long_names_it_and_its_abort(laid_out):
    producer = laid_out.publisher(transactional_id=laid_out.named("stuck"), transaction_timeout_ms=60_000)
    producer.init_transactions(10)
    producer.begin_transaction()
    name = laid_out.named("ticks")
    producer.produce(name, b"{}", b"WTI", 1)
    producer.flush(10)
    admin, specs = laid_out.admin(), pipeline.layout(2)
    ends = lag.ends_of(laid_out, admin, [spec.name for spec in specs], 10)

    young = lag.stuck_transactions(laid_out, specs, ends, time.time(), 10)
    old = lag.stuck_transactions(laid_out, specs, ends, time.time() + 600, 10)
    producer.abort_transaction(10)

    assert [finding.level for finding in young] == [Level.OK]
    assert [finding.level for finding in old] == [Level.FAIL]
    assert f"an open transaction holds up {name}[1] at offset 0 since 600 s" in old[0].what
    assert f"abort --topic {name} --partition 1 --start-offset 0" in old[0].how


def test_examine_when_dead_letters_came_and_devices_are_away_says_how_many_and_why(laid_out):
    now = time.time_ns() // 1000
    producer = laid_out.publisher()
    for number in range(5):
        at = Coordinates(topic="ticks", partition=0, offset=number)
        reason = f"price {number} is not a number" if number < 4 else "no JSON"
        letter = DeadLetter(
            letter_id=f"l{number}",
            application="positions",
            reason=reason,
            at=at,
            raw=b"{",
            size=1,
            event_time=now,
            receive_time=now,
        )
        producer.produce(laid_out.named("dead-letters"), topics.dead_letters.encode(letter), b"positions")
    live = Device(
        device="gas-1",
        connector="modbus",
        protocol="modbus-tcp",
        state=DeviceState.LIVE,
        since=now,
        started=now,
        expires=now + 60_000_000,
        event_time=now,
        receive_time=now,
    )
    down = structs.replace(live, state=DeviceState.DOWN, reason="cannot connect to 192.0.2.7:502")
    gone = structs.replace(live, device="wind-1", connector="opcua", expires=now - 1)
    for device in (live, down, gone):
        producer.produce(laid_out.named("devices"), topics.devices.encode(device), device.device.encode())
    assert producer.flush(10) == 0

    warnings = text_of(examine(laid_out, pipeline.layout(2)), Level.WARN)

    assert "4 of 5 dead letters in the last hour are of positions: price " in warnings
    assert (
        "1 of 5 dead letters in the last hour are of positions: no JSON | Look at the record at ticks[0]@4" in warnings
    )
    assert f"gas-1 (modbus-tcp) is down since {moment(now)}: cannot connect to 192.0.2.7:502 | " in warnings
    assert "wind-1: not served by any running opcua connector; the last was heard at " in warnings


def test_render_when_findings_differ_shows_the_mending_and_the_counts():
    out = io.StringIO()

    render(
        [Finding(Level.OK, "fine"), Finding(Level.WARN, "so so", "do this"), Finding(Level.FAIL, "broken", "do that")],
        Console(file=out, width=80, no_color=True),
    )

    assert out.getvalue().splitlines() == [
        "✓ fine",
        "! so so",
        "    do this",
        "✗ broken",
        "    do that",
        "",
        "1 ok, 1 to look at, 1 to mend",
    ]


class StrictKafka(Kafka):
    """A broker with an authorizer and settings that do not suit gridtape."""

    def configure(self) -> None:
        super().configure()
        with (self.folder / "server.properties").open("a") as properties:
            properties.write(STRICT)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder: Path = tmp_path_factory.mktemp("strict") / "kafka"
    with StrictKafka(folder) as broker:
        yield Cluster(broker.address, prefix="strict")


def test_examine_when_broker_is_guarded_and_unsuited_says_every_right_and_setting(strict):
    layout.ensure(strict, pipeline.layout(2))
    admin = strict.admin()
    guarded = [
        (ResourceType.TOPIC, strict.named("device-settings"), AclOperation.DESCRIBE, "User:ANONYMOUS"),
        (ResourceType.TOPIC, strict.named("device-settings"), AclOperation.DESCRIBE_CONFIGS, "User:ANONYMOUS"),
        (ResourceType.TOPIC, strict.named("events"), AclOperation.DESCRIBE, "User:ANONYMOUS"),
        (ResourceType.TOPIC, strict.named("devices"), AclOperation.READ, "User:gate"),
        (ResourceType.TOPIC, strict.named("orders"), AclOperation.DESCRIBE, "User:ANONYMOUS"),
        (ResourceType.TOPIC, strict.named("orders"), AclOperation.DESCRIBE_CONFIGS, "User:ANONYMOUS"),
        (ResourceType.TOPIC, strict.named("orders"), AclOperation.READ, "User:ANONYMOUS"),
        (ResourceType.GROUP, strict.named("gate"), AclOperation.READ, "User:gate"),
        (ResourceType.TRANSACTIONAL_ID, strict.named("doctor"), AclOperation.WRITE, "User:gate"),
    ]
    for bound in admin.create_acls(
        [
            AclBinding(kind, name, ResourcePatternType.LITERAL, who, "*", operation, AclPermissionType.ALLOW)
            for kind, name, operation, who in guarded
        ]
    ).values():
        bound.result(10)
    orders, deadline = strict.named("orders"), time.monotonic() + 20

    def may_write() -> bool:
        described = admin.describe_topics(TopicCollection([orders]), include_authorized_operations=True)
        return AclOperation.WRITE in described[orders].result().authorized_operations

    while may_write():  # the controller has answered, the broker may not have heard yet
        assert time.monotonic() < deadline
        time.sleep(0.02)

    findings, changing = (examine(strict, pipeline.layout(2), changes=name) for name in ("", "north"))

    assert "access is guarded by StandardAuthorizer" in text_of(findings, Level.OK)
    warnings = text_of(findings, Level.WARN)
    assert "this principal may not write devices, events, orders | Needed by whoever runs" in warnings
    assert "runs `gridtape run connectors`, `gridtape run processors gate`." in warnings
    assert "--operation Write --topic strict- --resource-pattern-type prefixed" in warnings
    assert "the devices could not be examined: this principal may not see the topic strict-devices | " in warnings
    assert "device-settings" not in text_of(findings), "devices are changed by no record, so that nobody needs it"
    read = "--operation Read --topic strict- --resource-pattern-type prefixed"
    north = "the connectors north cannot start: this principal may not read device-settings | Grant it"
    assert north in text_of(changing, Level.FAIL)
    assert read in text_of(changing, Level.FAIL)
    failures = text_of(findings, Level.FAIL)
    assert "may not see strict-devices: gridtape takes it for missing | Grant it" in failures
    assert "may not read the settings of strict-events: no process of gridtape starts | Grant it" in failures
    assert "is missing" not in failures
    with pytest.raises(Fatal, match=f"strict-events: {re.escape(layout.UNREADABLE)}"):
        layout.refuse(layout.differences(strict, pipeline.layout(2)))
    assert f"this principal may not join the consumer groups {strict.named('gate')}" in warnings
    assert "this principal may not begin transactions" in warnings
    assert "offsets of a stopped group are forgotten after 30 minutes" in warnings
    assert "creates any topic that is named to it" in warnings
    assert "transaction.max.timeout.ms is 5000, below the 12000 that gridtape asks for" in text_of(findings, Level.FAIL)


def test_examine_when_records_stream_in_takes_no_fast_group_for_one_beyond_the_end(day, monkeypatch):
    measured = lag.ends_of

    def then_more_is_read(*arguments) -> dict:
        ends = measured(*arguments)
        day.now += 1_000_000
        for _ in range(5):
            day.tick(110.0)
        day.until(topics.positions, lambda held: held.event_time == day.now)
        return ends

    monkeypatch.setattr(lag, "ends_of", then_more_is_read)
    findings = lag.examine(day.cluster, day.cluster.admin(), time.time(), 10)

    assert text_of(findings, Level.FAIL) == ""
    assert "positions: 1 member" in text_of(findings, Level.OK)
