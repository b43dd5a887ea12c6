"""The connectors' metrics. One process has one registry; the labels say which connector, device or topic."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from schemas.devices import DeviceState as State

_state = Gauge(
    "gridtape_connector_state",
    "1 for the state in which the link to the device is, 0 for the others.",
    ["connector", "device", "state"],
)
RECORDS = Counter(
    "gridtape_connector_records_total", "Records taken from the source, good or bad.", ["connector", "device"]
)
ERRORS = Counter(
    "gridtape_connector_errors_total", "Failed reads, refused values and lost connections.", ["connector", "device"]
)
PUBLISHED = Counter(
    "gridtape_connector_published_total", "Records that Kafka has acknowledged.", ["connector", "topic"]
)
DELIVERY_ERRORS = Counter(
    "gridtape_connector_delivery_errors_total", "Records that Kafka refused for good.", ["connector", "topic"]
)
DEAD_LETTERS = Counter(
    "gridtape_connector_dead_letters_total", "Records that were put aside as dead letters.", ["connector"]
)
SPOOL = Gauge(
    "gridtape_connector_spool_messages", "Records handed over and not yet acknowledged by Kafka.", ["connector"]
)
DISK_RECORDS = Gauge("gridtape_connector_disk_records", "Records that wait for Kafka on disk.", ["connector"])
DISK_BYTES = Gauge("gridtape_connector_disk_bytes", "Disk that the waiting records take.", ["connector"])
REFUSED_SETTINGS = Counter("gridtape_connector_settings_refused_total", "Changed settings that could not be used.")
PAUSED = Gauge(
    "gridtape_connector_paused", "1 while there is room nowhere, in memory or on disk; sources rest.", ["connector"]
)
LOST = Counter(
    "gridtape_connector_lost_total", "Samples that found room nowhere; each is part of a gap.", ["connector", "device"]
)
__all__ = [
    "DEAD_LETTERS",
    "DELIVERY_ERRORS",
    "DISK_BYTES",
    "DISK_RECORDS",
    "ERRORS",
    "LOST",
    "PAUSED",
    "PUBLISHED",
    "RECORDS",
    "REFUSED_SETTINGS",
    "SPOOL",
    "State",
    "forget",
    "set_state",
]


def set_state(connector: str, device: str, state: State) -> None:
    """Show the link's state; ``device`` is empty for the connector as a whole."""
    for one in State:
        _state.labels(connector, device, one.value).set(1.0 if one is state else 0.0)


def forget(connector: str, device: str) -> None:
    """Show a device no more that is no longer configured."""
    for one in State:
        _state.remove(connector, device, one.value)
