"""Runs the connectors that the settings name, each in a thread of its own; one that fails does not stop the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from connectors import metrics
from connectors.config import Config, ConfigError
from connectors.connector import Backoff, Connector
from connectors.metrics import State
from connectors.publisher import Publisher
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)
_JOIN_SECONDS = 2.5
_FLUSH_SECONDS = 1.0
_STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """A connector that can be made anew after a failure."""

    name: str
    make: Callable[[Publisher], Connector]


def services(config: Config) -> list[Service]:
    """The connectors that ``config`` names. Their libraries are only loaded when they are named.

    Raises ConfigError that says which extra to install.
    """
    found = []
    extra = ""
    try:
        if (mqtt := config.mqtt) is not None:
            extra = "mqtt"
            from connectors.mqtt.connector import MqttConnector

            found.append(Service(extra, lambda publisher: MqttConnector(mqtt, publisher)))
        if config.modbus:
            extra = "modbus"
            from connectors.modbus.connector import ModbusConnector

            found.append(Service(extra, lambda publisher: ModbusConnector(config.modbus, publisher)))
        if config.opcua:
            extra = "opcua"
            from connectors.opcua.connector import OpcUaConnector

            found.append(Service(extra, lambda publisher: OpcUaConnector(config.opcua, publisher)))
        if (market := config.market) is not None:
            extra = "market"
            from connectors.market.connector import MarketConnector

            found.append(Service(extra, lambda publisher: MarketConnector(market, publisher)))
    except ImportError as error:
        problem = f"{extra}: its library is not installed ({error}); install it with: pip install 'gridtape[{extra}]'"
        raise ConfigError("connectors", [problem]) from error
    return found


def run_connectors(config: Config, cluster: Cluster, stop: threading.Event) -> None:
    """Run until ``stop`` is set, or until every connector has finished by itself (a replay has an end).

    Returns within 5 s of ``stop``, with the publishers flushed as far as Kafka takes it. Raises ConfigError as
    :func:`services`.
    """
    run_services(services(config), cluster, stop)


def run_services(chosen: list[Service], cluster: Cluster, stop: threading.Event) -> None:
    """As :func:`run_connectors`, for connectors that the caller has chosen."""
    publishers = [Publisher(cluster, service.name) for service in chosen]
    threads = [
        threading.Thread(target=_supervise, args=(service, publisher, stop), name=service.name, daemon=True)
        for service, publisher in zip(chosen, publishers, strict=True)
    ]
    log.info("starting connectors", connectors=[service.name for service in chosen], bootstrap=cluster.bootstrap)
    for thread in threads:
        thread.start()
    while not stop.wait(0.1) and any(thread.is_alive() for thread in threads):
        pass
    deadline = time.monotonic() + _JOIN_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            log.warning("a connector did not stop in time and is left behind", connector=thread.name)
    deadline = time.monotonic() + _FLUSH_SECONDS
    for publisher in publishers:
        publisher.close(max(0.1, deadline - time.monotonic()))
    log.info("connectors stopped")


def _supervise(service: Service, publisher: Publisher, stop: threading.Event) -> None:
    backoff = Backoff(stop, first=1.0, ceiling=60.0)
    while not stop.is_set():
        began = time.monotonic()
        try:
            service.make(publisher).run(stop)
        except Exception:
            # The outermost edge of the connector's thread: whatever failed in it must not take the others along.
            log.exception("a connector failed and will be started again", connector=service.name)
            metrics.ERRORS.labels(service.name, "").inc()
            metrics.set_state(service.name, "", State.DOWN)
        else:
            log.info("a connector has finished", connector=service.name)
            return
        if time.monotonic() - began > _STEADY_SECONDS:
            backoff.reset()
        backoff.wait()
