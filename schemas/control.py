"""Switches that stop trading: written into every partition of a compacted control topic."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.base import Count, Identifier, Micros, Record, Text


class KillSwitch(Record, frozen=True, kw_only=True):
    """While ``engaged``, the gate rejects every intent of the scope. Keyed by scope."""

    scope: Annotated[str, Meta(pattern=r"^(all|book:[A-Za-z0-9][A-Za-z0-9._:@/+-]*)$", description="all or book:NAME")]
    version: Count
    engaged: bool
    reason: Text
    actor: Identifier
    event_time: Micros
    receive_time: Micros
