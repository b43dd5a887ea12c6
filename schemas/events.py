"""What devices themselves report: events and the states of their alarms."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.base import Count, Identifier, Micros, Quality, Record, Text

Severity = Annotated[int, Meta(ge=0, le=65_535, description="as the device gives it: 1 (least) to 1000 (most urgent)")]


class Event(Record, frozen=True, kw_only=True):
    """An event of a device, or the state of one of its conditions (an alarm, for one) after a change.

    Keyed by device. ``event_id``: the device's own, so that a repeat is recognised. ``type``: the name of the event's
    type, ``type_id`` and ``source_id`` where type and source stand in the device. ``condition_id`` with ``branch_id``
    names the condition whose state this is; null: a mere event, without a state. ``retain``: somebody should still see
    the condition; false: it is over. ``enabled``, ``active``, ``acknowledged``, ``confirmed``, ``suppressed`` (or
    shelved): null where the condition has no such state. ``level``: the device's word for the active state, ``High``
    for one. ``comment``: an operator's. ``quality`` with ``reason``: how far the condition's state can be trusted.

    ``refreshed``: the state told because we asked for all; news only if its ``event_id`` is new. While a gap of the
    feed ``events`` is open, nothing is known of the device's conditions; all those that still need somebody are told
    again before it closes, so that those which were not are over.

    ``event_time``: when it happened; ``source_time``: when the device's server learned of it, null if it does not say.
    ``sequence`` counts the device's events from 1 since the connector started.
    """

    device: Identifier
    event_id: Identifier
    type: Text
    type_id: Text = ""
    source: Text = ""
    source_id: Text = ""
    severity: Severity | None
    message: Text = ""
    condition: Text = ""
    condition_id: Text | None = None
    branch_id: Text | None = None
    retain: bool | None = None
    enabled: bool | None = None
    active: bool | None = None
    acknowledged: bool | None = None
    confirmed: bool | None = None
    suppressed: bool | None = None
    level: Text = ""
    comment: Text = ""
    quality: Quality = Quality.GOOD
    reason: Text = ""
    refreshed: bool = False
    sequence: Count
    event_time: Micros
    source_time: Micros | None = None
    receive_time: Micros
