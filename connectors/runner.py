"""Runs the connectors that the settings name, each in a thread of its own; one that fails does not stop the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import structlog

from connectors import metrics
from connectors.config import Config, ConfigError
from connectors.connector import Backoff, Changeable, Connector
from connectors.extras import libraries
from connectors.metrics import State
from connectors.outlet import Outlet
from connectors.publisher import Publisher
from connectors.repeats import Repeats
from connectors.spool.config import StoreConfig
from connectors.spool.forwarder import Forwarder
from connectors.spool.store import Store, StoreUnusable
from streams.engine.cluster import Cluster

log = structlog.get_logger(__name__)
_JOIN_SECONDS = 2.5
_FLUSH_SECONDS = 1.0
_STEADY_SECONDS = 60.0


Changes = Callable[[], Config | None]


@dataclass(frozen=True)
class Service:
    """A connector that can be made anew after a failure."""

    name: str
    make: Callable[[Outlet], Connector]
    config: object = None
    """Its part of the settings: as long as it is equal, the connector is not disturbed."""
    forgetful: bool = False
    """The source cannot be asked to say something again, so that its records wait on disk while Kafka is away."""


def services(config: Config) -> list[Service]:
    """The connectors that ``config`` names. Their libraries are only loaded when they are named.

    Raises ConfigError that says which extra to install.
    """
    found = []
    if (mqtt := config.mqtt) is not None:
        with libraries("mqtt"):
            from connectors.mqtt.connector import MqttConnector
        found.append(Service("mqtt", lambda outlet: MqttConnector(mqtt, outlet), mqtt))
    if (sparkplug := config.sparkplug) is not None:
        with libraries("sparkplug"):
            from connectors.sparkplug.connector import SparkplugConnector
        found.append(Service("sparkplug", lambda outlet: SparkplugConnector(sparkplug, outlet), sparkplug))
    if config.modbus:
        with libraries("modbus"):
            from connectors.modbus.connector import ModbusConnector
        found.append(
            Service("modbus", lambda outlet: ModbusConnector(config.modbus, outlet), config.modbus, forgetful=True)
        )
    if config.opcua:
        with libraries("opcua"):
            from connectors.opcua.connector import OpcUaConnector
        found.append(
            Service("opcua", lambda outlet: OpcUaConnector(config.opcua, outlet), config.opcua, forgetful=True)
        )
    if (market := config.market) is not None:
        with libraries("market"):
            from connectors.market.connector import MarketConnector
        found.append(Service("market", lambda outlet: MarketConnector(market, outlet), market))
    if config.recorded:
        with libraries("parquet"):
            _look_for_parquet(config)
            from connectors.market.recorded.connector import RecordedConnector
        found.append(Service("recorded", lambda outlet: RecordedConnector(config.recorded, outlet), config.recorded))
    if config.websocket:
        with libraries("market"):
            from connectors.market.websocket.connector import WebSocketConnector
        found.append(
            Service("websocket", lambda outlet: WebSocketConnector(config.websocket, outlet), config.websocket)
        )
    if config.fix:
        with libraries("market"):
            from connectors.market.fix.connector import FixConnector
        found.append(Service("fix", lambda outlet: FixConnector(config.fix, outlet), config.fix))
    if config.drop_copy:
        with libraries("market"):
            from connectors.market.dropcopy.connector import DropCopyConnector
        # Never forgetful: a disk in between would confirm what is not yet in Kafka.
        found.append(Service("drop-copy", lambda outlet: DropCopyConnector(config.drop_copy, outlet), config.drop_copy))
    return found


def _look_for_parquet(config: Config) -> None:
    """Its library is loaded by other processes only. Raises ImportError when one will need it and it is not there."""
    if any(path.suffix == ".parquet" for one in config.recorded for path in one.paths()) and not find_spec("pyarrow"):
        raise ImportError("No module named 'pyarrow'")


def run_connectors(
    config: Config,
    cluster: Cluster,
    stop: threading.Event,
    waiting_folder: Path | None = None,
    changes: Changes = lambda: None,
) -> None:
    """Run until ``stop`` is set, or until every connector has finished by itself (a replay has an end).

    ``waiting_folder``: where records wait while Kafka is away unless the settings say otherwise; without either they
    wait in memory only. ``changes`` is asked ten times a second for other settings: what differs is begun anew, device
    by device; what cannot be used is refused with every reason, and the running settings stay. Returns within 5 s of
    ``stop``, with what Kafka has not taken kept on disk. Raises ConfigError as :func:`services`, and when the store
    cannot be used.
    """
    store = config.store if config.store.enabled else None
    run_services(services(config), cluster, stop, store, config.store.folder or waiting_folder, changes)


def run_services(
    chosen: list[Service],
    cluster: Cluster,
    stop: threading.Event,
    store: StoreConfig | None = None,
    folder: Path | None = None,
    changes: Changes = lambda: None,
) -> None:
    """As :func:`run_connectors`, for connectors that the caller has chosen."""
    units: dict[str, _Unit] = {}
    log.info("starting connectors", connectors=[service.name for service in chosen], bootstrap=cluster.bootstrap)
    try:
        for service in chosen:
            units[service.name] = _Unit(service, _outlet(service, cluster, store, folder))
    except StoreUnusable as error:
        _end(list(units.values()))
        raise ConfigError("connectors", [str(error)]) from error
    for unit in units.values():
        unit.start()
    while not stop.wait(0.1) and any(unit.alive for unit in units.values()):
        try:
            if (config := changes()) is not None:
                _apply(units, services(config), partial(_outlet, cluster=cluster, store=store, folder=folder))
        except (ConfigError, StoreUnusable) as error:
            metrics.REFUSED_SETTINGS.inc()
            log.error(  # noqa: TRY400 - the reasons are for a person, the stack is not
                "the changed settings are refused; what runs goes on", problems=getattr(error, "problems", str(error))
            )
    _end(list(units.values()))
    log.info("connectors stopped")


class _Unit:
    """One running connector, and where its records go."""

    def __init__(self, service: Service, outlet: Publisher | Forwarder) -> None:
        self.service = service
        self.outlet = outlet
        self.stop = threading.Event()
        self._connector: Connector | None = None
        self._thread = threading.Thread(target=self._supervise, name=service.name, daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)
        if self.alive:
            log.warning("a connector did not stop in time and is left behind", connector=self.service.name)

    def change(self, service: Service) -> None:
        """Go on with other settings; a connector that cannot be told of them is begun anew."""
        if service.config == self.service.config:
            return
        log.info("the settings of a connector have changed", connector=service.name)
        self.service = service
        connector: object = self._connector
        if isinstance(connector, Changeable):
            connector.change(service.config)
            return
        self.stop.set()
        self.join(_JOIN_SECONDS)
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=service.name, daemon=True)
        self.start()

    def _supervise(self) -> None:
        stop = self.stop
        backoff, repeats = Backoff(stop, first=1.0, ceiling=60.0), Repeats()
        while not stop.is_set():
            began = time.monotonic()
            service = self.service
            try:
                self._connector = service.make(self.outlet)
                self._connector.run(stop)
            except Exception as error:
                # The outermost edge of the connector's thread: whatever failed in it must not take the others along.
                if (again := repeats.again(type(error).__name__, str(error))) is not None:
                    log.exception("a connector failed and will be started again", connector=service.name, **again)
                metrics.ERRORS.labels(service.name, "").inc()
                metrics.set_state(service.name, "", State.DOWN)
            else:
                log.info("a connector has finished", connector=service.name)
                return
            if time.monotonic() - began > _STEADY_SECONDS:
                backoff.reset()
            backoff.wait()


def _apply(units: dict[str, _Unit], chosen: list[Service], outlet: Callable[[Service], Publisher | Forwarder]) -> None:
    wanted = {service.name: service for service in chosen}
    new = {name: _Unit(service, outlet(service)) for name, service in wanted.items() if name not in units}
    _end([units.pop(name) for name in list(units) if name not in wanted])
    for name, unit in units.items():
        unit.change(wanted[name])
    for unit in new.values():
        unit.start()
    units.update(new)


def _end(units: list[_Unit]) -> None:
    for unit in units:
        unit.stop.set()
    deadline = time.monotonic() + _JOIN_SECONDS
    for unit in units:
        if unit.alive:
            unit.join(max(0.0, deadline - time.monotonic()))
    deadline = time.monotonic() + _FLUSH_SECONDS
    for unit in units:
        unit.outlet.close(max(0.1, deadline - time.monotonic()))


def _outlet(
    service: Service, cluster: Cluster, store: StoreConfig | None, folder: Path | None
) -> Publisher | Forwarder:
    if store is None or folder is None or not service.forgetful:
        return Publisher(cluster, service.name)
    file = Store(
        folder / f"{cluster.named(service.name)}.sqlite",
        disk_megabytes=store.disk_megabytes,
        keep_free_megabytes=store.keep_free_megabytes,
    )
    forwarder = Forwarder(Publisher(cluster, service.name), file, store, service.name)
    forwarder.start()
    return forwarder
