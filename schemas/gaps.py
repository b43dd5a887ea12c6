"""Silence is data: what is missing from a feed, in order with what is there."""

from __future__ import annotations

import enum

from schemas.base import Count, Identifier, Micros, Record, Text


class Feed(enum.StrEnum):
    """The topic in which the data is missing."""

    TICKS = "ticks"
    TELEMETRY = "telemetry"
    FILLS = "fills"
    EVENTS = "events"


class GapReason(enum.StrEnum):
    """Why data is missing."""

    SEQUENCE = "sequence"
    SILENCE = "silence"
    DISCONNECTED = "disconnected"
    OVERFLOW = "overflow"
    CROSSED = "crossed"
    CLOCK = "clock"


class Gap(Record, frozen=True, kw_only=True):
    """Something is missing from a feed: opened when noticed, closed when data is back or the missing came late.

    Keyed by instrument (ticks), device (telemetry, events) or name of the drop copy (fills). An open gap makes what
    was known before ``event_time`` unknown; the next record of the feed that was received later makes it known again.
    Of events the gap's own closing does: by then the device has told the states of its conditions anew.
    ``first`` and ``last`` are the missing sequence numbers, ``count`` how many, each null where not known.
    """

    gap_id: Identifier
    feed: Feed
    key: Identifier
    point: Identifier | None = None
    reason: GapReason
    open: bool
    first: Count | None = None
    last: Count | None = None
    count: Count | None = None
    detail: Text = ""
    event_time: Micros
    receive_time: Micros
