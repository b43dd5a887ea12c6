from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from connectors.config import Config, ConfigError
from connectors.modbus.config import ModbusDevice
from connectors.publisher import Publisher
from connectors.runner import Service, run_services, services
from streams.engine.cluster import Cluster

NOWHERE = Cluster("127.0.0.1:1")


class Scripted:
    """A connector that does what its test says."""

    def __init__(self, name: str, body: Callable[[threading.Event], None]) -> None:
        self.name = name
        self.run = body


def service(name: str, body: Callable[[threading.Event], None]) -> Service:
    return Service(name, lambda _publisher: Scripted(name, body))


def until_stopped(stop: threading.Event) -> None:
    stop.wait()


def test_runner_when_one_connector_fails_restarts_it_and_leaves_the_others_alone() -> None:
    stop = threading.Event()
    starts: list[str] = []

    def failing(_stop: threading.Event) -> None:
        starts.append("failing")
        if len(starts) == 2:
            state = {"connector": "r-failing", "device": "", "state": "down"}
            assert REGISTRY.get_sample_value("gridtape_connector_state", state) == 1
            stop.set()
        raise OSError("the device is on fire")

    steady_runs: list[bool] = []

    def steady(stop: threading.Event) -> None:
        steady_runs.append(stop.wait())

    run_services([service("r-failing", failing), service("r-steady", steady)], NOWHERE, stop)
    assert starts == ["failing", "failing"]
    assert steady_runs == [True]


def test_runner_when_a_connector_cannot_even_be_made_the_others_run() -> None:
    stop = threading.Event()

    def broken(_publisher: Publisher) -> Scripted:
        raise ValueError("no such certificate")

    run_services([Service("r-broken", broken), service("r-other", lambda _stop: stop.set())], NOWHERE, stop)
    assert stop.is_set()


def test_runner_when_every_connector_has_finished_returns_by_itself() -> None:
    stop = threading.Event()
    run_services([service("r-replay", lambda _stop: None)], NOWHERE, stop)
    assert not stop.is_set()


def test_runner_when_a_connector_hangs_is_left_behind_at_stop() -> None:
    stop, release, ended = threading.Event(), threading.Event(), threading.Event()

    def hanging(_stop: threading.Event) -> None:
        stop.set()
        release.wait()
        ended.set()

    run_services([service("r-hanging", hanging)], NOWHERE, stop)
    assert not ended.is_set()
    release.set()
    assert ended.wait(10)


def test_services_when_nothing_is_named_are_none() -> None:
    assert services(Config()) == []


def test_services_when_the_library_is_absent_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "connectors.modbus.connector", raising=False)
    monkeypatch.setitem(sys.modules, "connectors.modbus.connector", None)
    device = ModbusDevice.model_validate(
        {
            "name": "m",
            "host": "127.0.0.1",
            "registers": [{"point": "p", "kind": "coil", "address": 0, "type": "bool", "unit": "1"}],
        }
    )
    with pytest.raises(ConfigError, match=r"pip install 'gridtape\[modbus\]'"):
        services(Config(modbus=[device]))


class Told:
    """A connector that can be told of other settings."""

    name = "r-told"

    def __init__(self, config: object, log: list[object]) -> None:
        self._log = log
        log.append(("made", config))

    def run(self, stop: threading.Event) -> None:
        stop.wait()

    def change(self, config: object) -> None:
        self._log.append(("changed", config))


def test_runner_when_settings_change_tells_or_restarts_what_differs_and_refuses_what_is_wrong(monkeypatch) -> None:
    stop = threading.Event()
    told: list[object] = []
    runs: list[object] = []

    def once(config: object) -> Callable[[Publisher], Scripted]:
        def run(stop: threading.Event) -> None:
            runs.append(config)
            stop.wait()

        return lambda _outlet: Scripted("r-once", run)

    def chosen(first: int, second: int | None, third: int | None = None) -> list[Service]:
        found = [Service("r-told", lambda _outlet: Told(first, told), first)]
        found += [] if second is None else [Service("r-once", once(second), second)]
        return found + ([] if third is None else [Service("r-new", once(third), third)])

    steps = iter([chosen(1, 1), chosen(2, 1), chosen(2, 3), None, chosen(2, 3, 4), chosen(2, None, 4)])
    monkeypatch.setattr("connectors.runner.services", lambda config: config)

    def changes() -> list[Service] | None:
        step = next(steps, "end")
        if step == "end":
            stop.set()
            return None
        if step is None:
            raise ConfigError("connectors.toml", ["modbus[0].port: is 'x'", "modbus[0].host: is missing"])
        return step

    refused = REGISTRY.get_sample_value("gridtape_connector_settings_refused_total")
    run_services(chosen(1, 1), NOWHERE, stop, changes=changes)
    assert told == [("made", 1), ("changed", 2)]
    assert runs == [1, 3, 4]
    assert REGISTRY.get_sample_value("gridtape_connector_settings_refused_total") == refused + 1
