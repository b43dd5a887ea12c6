"""The connectors' metrics. One process has one registry; the labels say which connector, device or topic."""

from __future__ import annotations

import enum

from prometheus_client import Counter, Gauge


class State(enum.StrEnum):
    """How a connector's link to one device stands."""

    CONNECTING = "connecting"
    LIVE = "live"
    DEGRADED = "degraded"
    STALE = "stale"
    DOWN = "down"


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


def set_state(connector: str, device: str, state: State) -> None:
    """Show the link's state; ``device`` is empty for the connector as a whole."""
    for one in State:
        _state.labels(connector, device, one.value).set(1.0 if one is state else 0.0)
