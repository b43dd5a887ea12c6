"""Dead letters and the check that decides whether a record keeps its contract. Pure."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from connectors import clock
from schemas.base import EARLIEST_TIME, LATEST_TIME, Record
from schemas.dead_letters import RAW_LIMIT, DeadLetter
from schemas.topics import Topic

R = TypeVar("R", bound=Record)
_TEXT_LIMIT = 2000


def checked(topic: Topic[R], record: R) -> bytes:
    """The record as JSON. Reading it back proves what its types alone do not: ranges, patterns, no NaN made null.

    Raises ValueError, TypeError, OverflowError or msgspec.MsgspecError saying what is wrong.
    """
    payload = topic.encode(record)
    if topic.decode(payload) != record:
        raise ValueError("a number in it is NaN or infinite")
    return payload


def dead_letter(
    *, application: str, source: str, reason: str, raw: bytes, key: str | None, receive_time: int
) -> DeadLetter:
    """A dead letter whose id follows from source, bytes and receive time (microseconds); texts are cut to fit."""
    digest = hashlib.sha256(b"\0".join((source.encode("utf-8", "replace"), str(receive_time).encode(), raw)))
    return DeadLetter(
        letter_id=f"{application}/{digest.hexdigest()[:32]}",
        application=application,
        reason=clean(reason),
        at=None,
        source=clean(source),
        key=None if key is None else clean(key),
        raw=raw[:RAW_LIMIT],
        size=len(raw),
        event_time=receive_time,
        receive_time=receive_time,
    )


def of_record(*, application: str, topic: Topic[R], key: str, record: R, reason: str) -> DeadLetter:
    """A dead letter for a record that cannot be written; its receive time is kept unless that is what is wrong."""
    receive_time = getattr(record, "receive_time", None)
    if not (isinstance(receive_time, int) and EARLIEST_TIME <= receive_time < LATEST_TIME):
        receive_time = clock.now()
    return dead_letter(
        application=application,
        source=f"{application}:{topic.name}",
        reason=reason,
        raw=repr(record).encode("utf-8", "backslashreplace"),
        key=key,
        receive_time=receive_time,
    )


def clean(text: str) -> str:
    """``text`` as UTF-8 can hold it, cut to fit."""
    return text.encode("utf-8", "backslashreplace").decode()[:_TEXT_LIMIT]
