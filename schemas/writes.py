"""Values that people write to devices: who, why, what was asked, what the device held before and after."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from schemas.base import Identifier, Micros, Record, Text, Unit, Value

Raw = Annotated[str, Meta(max_length=1000, description="the bytes on the wire, hexadecimal; empty when not known")]


class WriteOutcome(enum.StrEnum):
    """What is known of a write. An ``asked`` that nothing follows: the command was ended, and nobody looked.

    ``refused``: nothing was changed, by the settings, the device or its absence. ``different``: the device took it
    and held something else afterwards. ``unknown``: it may have been changed, or may still be.
    """

    ASKED = "asked"
    WRITTEN = "written"
    REFUSED = "refused"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


class Write(Record, frozen=True, kw_only=True):
    """An attempt to write a value to a device, and what came of it. Keyed by device.

    The record with outcome ``asked`` is in Kafka before anything is sent to the device; the one with the outcome
    follows under the same ``write_id``. ``actor``: the operating system's user on ``host``. ``place``: where the device
    is reached; ``address``: what is written there, with protocol function ``function``. ``asked``, ``before`` and
    ``after`` are in ``unit``; null: there was no value. ``raw`` is what was to be written, ``raw_before`` and
    ``raw_after`` what was read. ``detail``: what was seen, in words.
    """

    write_id: Identifier
    actor: Text
    host: Text
    reason: Text
    device: Identifier
    point: Identifier
    unit: Unit = ""
    protocol: Annotated[str, Meta(max_length=40)]
    place: Text
    address: Text = ""
    function: Annotated[int, Meta(ge=1, le=127)] | None = None
    asked: Decimal
    raw: Raw = ""
    before: Value | None = None
    raw_before: Raw = ""
    after: Value | None = None
    raw_after: Raw = ""
    outcome: WriteOutcome
    detail: Text = ""
    asked_time: Micros
    event_time: Micros
    receive_time: Micros
