"""Measured values from the field."""

from __future__ import annotations

from schemas.base import Count, Micros, Name, Quality, Record, Text, Unit, Value


class Telemetry(Record, frozen=True, kw_only=True):
    """One sample of one point of one device. Keyed by device, so that a device's samples keep their order.

    ``value`` is null exactly when the source gave none (a read error, a bad status without value); it is never
    repeated from an earlier sample. Switches are 0 and 1. ``event_time`` is the device's own time where the
    protocol carries one, otherwise the time at which the connector took the sample. After ``valid_until`` the value
    says nothing any more about the present; null: no such time is configured.
    """

    device: Name
    point: Name
    value: Value | None
    unit: Unit
    quality: Quality = Quality.GOOD
    reason: Text = ""
    sequence: Count
    event_time: Micros
    receive_time: Micros
    valid_until: Micros | None = None
