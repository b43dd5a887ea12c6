"""The devices: what each is, what it measures, and how the link to it stands."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from schemas.base import Count, Identifier, Micros, Record, Text, Unit, Value


class DeviceState(enum.StrEnum):
    """How the link to a device stands. The last four can follow in any order; ``connecting`` is only the beginning."""

    CONNECTING = "connecting"
    LIVE = "live"
    DEGRADED = "degraded"
    STALE = "stale"
    DOWN = "down"


REMOVED = "it is no longer configured"
"""The reason in the last word of a device that was taken out of the settings of a connector that runs on."""


class Storage(enum.StrEnum):
    """Where a device's records wait for Kafka; ``paused``: there is room nowhere, and the source is not read."""

    DIRECT = "direct"
    MEMORY = "memory"
    DISK = "disk"
    PAUSED = "paused"


class DevicePoint(Record, frozen=True, kw_only=True):
    """One point of a device. A value outside ``minimum`` to ``maximum`` is flagged uncertain; null: no such bound."""

    point: Identifier
    unit: Unit
    minimum: Value | None = None
    maximum: Value | None = None


class Device(Record, frozen=True, kw_only=True):
    """A device as it is configured, and its life cycle: written on every change and as a heartbeat in between.

    ``since``: when ``state`` began; ``reason``: why. ``storage`` says where its records wait, ``waiting`` how many,
    and ``storage_reason`` why. The counters run since ``started``, the start of the connector: ``records`` taken,
    ``errors`` (bad values, failed reads, lost connections), ``lost`` (records that found room nowhere), ``connects``
    (how often it became live). ``expires``: what has not been written again by then speaks of a connector that is no
    more. ``book``: who owns its output.
    """

    device: Identifier
    connector: Identifier
    protocol: Annotated[str, Meta(max_length=40)]
    site: Text = ""
    asset: Text = ""
    book: Identifier | None = None
    points: tuple[DevicePoint, ...] = ()
    state: DeviceState
    reason: Text = ""
    since: Micros
    storage: Storage = Storage.DIRECT
    storage_reason: Text = ""
    waiting: Count = 0
    records: Count = 0
    errors: Count = 0
    lost: Count = 0
    connects: Count = 0
    started: Micros
    expires: Micros
    event_time: Micros
    receive_time: Micros
