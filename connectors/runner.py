"""Runs the connectors that the settings name, each in a thread of its own; one that fails does not stop the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from connectors import metrics
from connectors.config import Config, ConfigError
from connectors.connector import Backoff, Connector
from connectors.metrics import State
from connectors.outlet import Outlet
from connectors.publisher import Publisher
from connectors.spool.config import StoreConfig
from connectors.spool.forwarder import Forwarder
from connectors.spool.store import Store, StoreUnusable
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)
_JOIN_SECONDS = 2.5
_FLUSH_SECONDS = 1.0
_STEADY_SECONDS = 60.0


@dataclass(frozen=True)
class Service:
    """A connector that can be made anew after a failure."""

    name: str
    make: Callable[[Outlet], Connector]
    forgetful: bool = False
    """The source cannot be asked to say something again, so that its records wait on disk while Kafka is away."""


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
        if (sparkplug := config.sparkplug) is not None:
            extra = "sparkplug"
            from connectors.sparkplug.connector import SparkplugConnector

            found.append(Service(extra, lambda publisher: SparkplugConnector(sparkplug, publisher)))
        if config.modbus:
            extra = "modbus"
            from connectors.modbus.connector import ModbusConnector

            found.append(Service(extra, lambda outlet: ModbusConnector(config.modbus, outlet), forgetful=True))
        if config.opcua:
            extra = "opcua"
            from connectors.opcua.connector import OpcUaConnector

            found.append(Service(extra, lambda outlet: OpcUaConnector(config.opcua, outlet), forgetful=True))
        if (market := config.market) is not None:
            extra = "market"
            from connectors.market.connector import MarketConnector

            found.append(Service(extra, lambda publisher: MarketConnector(market, publisher)))
    except ImportError as error:
        problem = f"{extra}: its library is not installed ({error}); install it with: pip install 'gridtape[{extra}]'"
        raise ConfigError("connectors", [problem]) from error
    return found


def run_connectors(config: Config, cluster: Cluster, stop: threading.Event, waiting_folder: Path | None = None) -> None:
    """Run until ``stop`` is set, or until every connector has finished by itself (a replay has an end).

    ``waiting_folder``: where records wait while Kafka is away unless the settings say otherwise; without either they
    wait in memory only. Returns within 5 s of ``stop``, with what Kafka has not taken kept on disk. Raises ConfigError
    as :func:`services`, and when the store cannot be used.
    """
    folder = config.store.folder or waiting_folder
    run_services(services(config), cluster, stop, config.store if config.store.enabled else None, folder)


def run_services(
    chosen: list[Service],
    cluster: Cluster,
    stop: threading.Event,
    store: StoreConfig | None = None,
    folder: Path | None = None,
) -> None:
    """As :func:`run_connectors`, for connectors that the caller has chosen."""
    outlets = _outlets(chosen, cluster, store, folder)
    threads = [
        threading.Thread(target=_supervise, args=(service, outlet, stop), name=service.name, daemon=True)
        for service, outlet in zip(chosen, outlets, strict=True)
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
    for outlet in outlets:
        outlet.close(max(0.1, deadline - time.monotonic()))
    log.info("connectors stopped")


def _outlets(
    chosen: list[Service], cluster: Cluster, store: StoreConfig | None, folder: Path | None
) -> list[Publisher | Forwarder]:
    made: list[Publisher | Forwarder] = []
    try:
        for service in chosen:
            if store is None or folder is None or not service.forgetful:
                made.append(Publisher(cluster, service.name))
                continue
            file = Store(
                folder / f"{cluster.named(service.name)}.sqlite",
                disk_megabytes=store.disk_megabytes,
                keep_free_megabytes=store.keep_free_megabytes,
            )
            forwarder = Forwarder(Publisher(cluster, service.name), file, store, service.name)
            forwarder.start()
            made.append(forwarder)
    except StoreUnusable as error:
        for outlet in made:
            outlet.close(0.0)
        raise ConfigError("connectors", [str(error)]) from error
    return made


def _supervise(service: Service, outlet: Outlet, stop: threading.Event) -> None:
    backoff = Backoff(stop, first=1.0, ceiling=60.0)
    while not stop.is_set():
        began = time.monotonic()
        try:
            service.make(outlet).run(stop)
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
