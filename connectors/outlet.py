"""What a connector hands its records to, whatever is behind it: Kafka, Kafka with a disk in between, or a list."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from schemas.base import Record
from schemas.cloudevents import Header
from schemas.devices import Storage
from schemas.topics import Topic

R = TypeVar("R", bound=Record)
Done = Callable[[str | None], None]
Raw = Callable[[], bytes]


class Full(Exception):
    """There is no room for another record. Stop reading the source until there is."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where records wait for Kafka, how many, and why; ``reason`` is empty when all is well."""

    storage: Storage = Storage.DIRECT
    records: int = 0
    reason: str = ""


class Outlet(Protocol):
    """Never blocks; keeps the order of calls per key; thread-safe."""

    def publish(
        self,
        topic: Topic[R],
        key: str,
        record: R,
        *,
        event_id: str,
        done: Done | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        """Hand ``record`` over. ``event_id`` becomes ``ce_id`` and must come from the source's own data.

        ``headers``: what else the source said of it, under names that are no CloudEvents attributes.

        ``done`` is called once: with None when somebody else answers for the record from now on, otherwise with what
        went wrong. A record that breaks its own contract becomes a dead letter. Raises :class:`Full`, and then nothing
        has happened.
        """

    def dead_letter(
        self,
        *,
        source: str,
        reason: str,
        raw: bytes,
        key: str | None = None,
        receive_time: int,
        done: Done | None = None,
    ) -> None:
        """Put aside what could not become a record; ``source`` is its address. Raises :class:`Full`."""

    def wait_for_room(self, stop: threading.Event) -> bool:
        """Wait until there is room again; false when ``stop`` was set first."""

    def flush(self, timeout: float) -> int:
        """Wait up to ``timeout`` seconds until nothing waits; how many records do."""

    def waiting(self) -> Waiting:
        """Where records wait now."""

    def seen(self, device: str, point: str, raw: Raw) -> None:
        """The bytes of the source behind the next sample of ``point``; looked at by a dry run only."""
