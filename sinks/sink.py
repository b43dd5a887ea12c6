"""What a sink is: where records leave gridtape, each at least once and in order."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from schemas.base import Coordinates
from schemas.topics import Topic
from streams.engine.cluster import Cluster

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,199}")


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One record on its way out, with where it came from.

    ``record`` is of the type ``topic.record``; ``raw`` are its bytes as they stand in Kafka. ``time`` is Kafka's own
    timestamp in microseconds. Compared by identity.
    """

    topic: Topic[Any]
    record: Any
    at: Coordinates
    key: str
    headers: dict[str, str]
    raw: bytes
    time: int

    @property
    def event_id(self) -> str:
        """The deterministic id that the writer gave (``ce_id``), otherwise the coordinates: the idempotency key."""
        return self.headers.get("ce_id") or str(self.at)


class Unavailable(Exception):
    """The destination cannot take the next delivery now. It is tried again, in order.

    ``done``: how many deliveries at the head of the batch are settled. ``after``: seconds that the destination itself
    asked to wait.
    """

    def __init__(self, reason: str, *, done: int = 0, after: float | None = None) -> None:
        super().__init__(reason)
        self.done = done
        self.after = after


class Refused(Exception):
    """The destination will never take ``delivery``: it becomes a dead letter, and the others go on.

    ``done``: how many deliveries at the head of the batch are settled.
    """

    def __init__(self, reason: str, delivery: Delivery, *, done: int = 0) -> None:
        super().__init__(reason)
        self.delivery = delivery
        self.done = done


class Disabled(Exception):
    """The destination wants nothing more. The sink ends; what it has not delivered stays in Kafka, uncommitted.

    ``done``: how many deliveries at the head of the batch are settled.
    """

    def __init__(self, reason: str, *, done: int = 0) -> None:
        super().__init__(reason)
        self.done = done


class Sink(Protocol):
    """A destination. ``name`` is for ever: it names the consumer group ``sink-NAME``, metrics and dead letters."""

    name: str
    topics: tuple[Topic[Any], ...]
    batch_rows: int
    """Most records handed over at once."""
    batch_seconds: float
    """How long to collect before a smaller batch is handed over; 0: at once."""
    attempts: int | None
    """Attempts for one record before it becomes a dead letter; None: it is tried until it succeeds."""

    def handle(self, batch: list[Delivery], stop: threading.Event) -> None:
        """Deliver the batch in order; return only when the destination has it safely.

        A repeat of an earlier delivery must do no harm. Returns within 3 s after ``stop`` was set, with Unavailable if
        something is left. Raises Unavailable, Refused or Disabled; nothing else is expected.
        """


@runtime_checkable
class Service(Protocol):
    """What leaves gridtape by a loop of its own: the simulated venue."""

    name: str

    def run(self, cluster: Cluster, stop: threading.Event) -> None:
        """Work until ``stop`` is set, then return within 5 s."""


def identifier(*parts: str) -> str:
    """A deterministic id of ``parts``: joined by ``/``, or a digest where that would be no valid Identifier."""
    text = "/".join(parts)
    if _IDENTIFIER.fullmatch(text):
        return text
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=20).hexdigest()
