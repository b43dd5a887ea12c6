"""CloudEvents 1.0 headers, Kafka binary mode (CloudEvents Kafka protocol binding 1.0.2, section 3.2).

``ce_id`` is made from the input's coordinates or the source's own sequence, never at random, so that a receiver can
tell a repeat from a new event.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

Header = tuple[str, str | bytes | None]

_CONTENT_TYPE = ("content-type", b"application/json")
_SPEC_VERSION = ("ce_specversion", b"1.0")


def timestamp(micros: int) -> str:
    """RFC 3339 of microseconds since the epoch, for example 2026-11-21T07:00:00.250000Z."""
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_second(seconds)}.{rest:06d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=256)
def _static(kind: str, source: str) -> tuple[Header, ...]:
    return (
        ("ce_type", f"gridtape.{kind}.v1".encode()),
        ("ce_source", f"/gridtape/{source}".encode()),
        _SPEC_VERSION,
        _CONTENT_TYPE,
    )


def headers(kind: str, source: str, event_id: str, event_time: int) -> list[Header]:
    """Headers of one event: its kind (``alert``), source (``connectors/mqtt``), id and time in microseconds."""
    return [
        ("ce_id", event_id.encode()),
        ("ce_time", timestamp(event_time).encode()),
        *_static(kind, source),
    ]


def read(raw: Iterable[tuple[str, bytes | str | None]] | None) -> dict[str, str]:
    """Kafka headers as text; the last of a repeated name wins, undecodable bytes are shown as escapes."""
    return {
        name: value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else (value or "")
        for name, value in raw or ()
    }
