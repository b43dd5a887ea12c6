"""What each commit was fed, in which order: the thread along which a replay walks."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.base import Count, Identifier, Micros, Record


class Segment(Record, frozen=True, kw_only=True, array_like=True):
    """A run of consecutive records of one input partition, handed to the processor as one batch.

    JSON: an array [topic, first offset, last offset, count, time]. For timers that fired, ``topic`` is empty, the
    offsets are -1 and ``time`` is the recorded wall clock (microseconds); otherwise ``time`` is 0.
    """

    topic: str
    first: Annotated[int, Meta(ge=-1)]
    last: Annotated[int, Meta(ge=-1)]
    count: Count
    time: Annotated[int, Meta(ge=0)]


class Journal(Record, frozen=True, kw_only=True):
    """One commit of one task (one partition of one application). Keyed by application and partition.

    ``segments`` are in processing order. ``outputs`` counts the records written and ``output_hash`` is the BLAKE2b-128
    of their topics, keys and values in order, in hexadecimal. ``commit`` counts the task's commits from 1.
    """

    application: Identifier
    partition: Annotated[int, Meta(ge=0)]
    commit: Count
    segments: list[Segment]
    outputs: Count
    output_hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
    event_time: Micros
    receive_time: Micros
