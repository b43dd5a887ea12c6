from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from streams.commands.checks import broker, clocks
from streams.commands.checks.finding import Level, loopback, tool
from streams.engine.cluster import Cluster

CLUSTER = Cluster("127.0.0.1:9092")
KAFKA_4_3 = {0: (0, 13), 1: (4, 18), 65: (0, 0), 66: (0, 2), 74: (0, 1), 75: (0, 0)}
KAFKA_4_0 = {**KAFKA_4_3, 0: (0, 12)}
KAFKA_3_9 = {**KAFKA_4_3, 0: (0, 11), 1: (0, 17)}


@dataclass
class Entry:
    value: str


def levels(**config: str) -> dict[str, Level]:
    found = broker.settings(CLUSTER, "1", {name.replace("__", "."): Entry(value) for name, value in config.items()}, 3)  # type: ignore[arg-type]
    return {finding.what: finding.level for finding in found}


@pytest.mark.parametrize(
    ("requests", "release"),
    [
        (KAFKA_4_3, "4.1 or later"),
        (KAFKA_4_0, "4.0"),
        (KAFKA_3_9, "3.8 or 3.9"),
        ({k: v for k, v in KAFKA_3_9.items() if k != 75}, "3.7"),
        ({k: v for k, v in KAFKA_3_9.items() if k not in (74, 75)}, "3.0 to 3.6"),
        ({0: (0, 8), 1: (0, 11)}, "older than 3.0"),
    ],
)
def test_generation_when_broker_tells_its_requests_is_its_release(requests, release):
    assert broker.generation(requests) == release


def test_ear_when_librdkafka_logs_its_handshake_remembers_requests_by_broker():
    ear = broker.Ear()
    line = (
        "APIVERSION [rdkafka#producer-1] [thrd:10.0.0.1:9092/{}]: 10.0.0.1:9092/{}:   ApiKey Fetch (1) Versions 4..18"
    )
    for name in ("bootstrap", "7"):
        ear.emit(logging.LogRecord("x", 10, "", 0, line.format(name, name), (), None))

    assert ear.requests == {7: {1: (4, 18)}}


def test_settings_when_all_fit_are_one_ok():
    found = levels(
        transaction__max__timeout__ms="900000",
        group__min__session__timeout__ms="6000",
        group__max__session__timeout__ms="1800000",
        offsets__retention__minutes="10080",
        transaction__state__log__replication__factor="3",
        auto__create__topics__enable="false",
    )

    assert list(found.values()) == [Level.OK]


@pytest.mark.parametrize(
    ("config", "level", "says"),
    [
        ({"transaction__max__timeout__ms": "5000"}, Level.FAIL, "below the 12000"),
        (
            {"group__min__session__timeout__ms": "15000", "group__max__session__timeout__ms": "60000"},
            Level.FAIL,
            "sessions may last 15000 to 60000 ms",
        ),
        ({"offsets__retention__minutes": "60"}, Level.WARN, "forgotten after 60 minutes"),
        ({"transaction__state__log__replication__factor": "1"}, Level.WARN, "has 1 copy on 3 brokers"),
        ({"auto__create__topics__enable": "true"}, Level.WARN, "creates any topic"),
    ],
)
def test_settings_when_one_does_not_fit_is_told_with_its_value(config, level, says):
    (what, found), *rest = levels(**config).items()

    assert not rest
    assert found is level
    assert says in what


@pytest.mark.parametrize(
    ("difference", "uncertainty", "level"),
    [
        (0.4, 0.1, Level.OK),
        (-3.0, 0.1, Level.WARN),
        (3.0, 2.5, Level.OK),
        (3600.0, 0.2, Level.FAIL),
        (-61.0, 5.0, Level.WARN),
    ],
)
def test_clock_when_it_differs_is_judged_by_what_is_certain(difference, uncertainty, level):
    finding = clocks.verdict(2, difference, uncertainty)

    assert finding.level is level
    assert ("ahead of" if difference > 0 else "behind") in finding.what
    assert bool(finding.how) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("bootstrap", "expected"),
    [
        ("127.0.0.1:9092", True),
        ("localhost:9092,[::1]:9093", True),
        ("localhost:9092,kafka-2:9092", False),
        ("10.1.2.3:9092", False),
    ],
)
def test_loopback_when_any_broker_is_elsewhere_is_false(bootstrap, expected):
    assert loopback(Cluster(bootstrap)) is expected


def test_tool_when_cluster_is_secured_names_the_client_settings_but_no_secret():
    cluster = Cluster("kafka:9093", security={"sasl.password": "hush"})

    assert tool("kafka-topics", cluster, "--list") == (
        "kafka-topics.sh --bootstrap-server kafka:9093 --command-config client.properties --list"
    )
