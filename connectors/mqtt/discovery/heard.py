"""What was heard of a topic, not yet understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Levels = tuple[str, ...]


class Payload(NamedTuple):
    """One payload. ``at``: when it was received, microseconds. ``retained``: the broker had kept it."""

    at: int
    raw: bytes
    retained: bool = False


@dataclass(frozen=True)
class Heard:
    """One topic. ``payloads``: the first that came, in order; ``live``: how many came that the broker had not kept."""

    topic: str
    payloads: tuple[Payload, ...]
    live: int

    @property
    def levels(self) -> Levels:
        """Its levels."""
        return tuple(self.topic.split("/"))
