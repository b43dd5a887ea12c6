"""Records that could not be processed, kept with where they came from and why."""

from __future__ import annotations

from schemas.base import Coordinates, Count, Identifier, Micros, Record, Text

RAW_LIMIT = 65_536
"""Bytes of the raw record that a dead letter keeps; the whole of it still stands at its coordinates."""


class DeadLetter(Record, frozen=True, kw_only=True):
    """A poison record. Keyed by the application or connector that gave up on it.

    ``at`` is null and ``source`` names the address (an MQTT topic, a register, a node) when it never reached Kafka.
    ``raw`` is base64 in JSON, cut at RAW_LIMIT bytes; ``size`` is the whole size in bytes.
    """

    letter_id: Identifier
    application: Identifier
    reason: Text
    at: Coordinates | None
    source: Text = ""
    key: Text | None = None
    raw: bytes
    size: Count
    event_time: Micros
    receive_time: Micros
