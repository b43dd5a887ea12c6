"""What was found at an address: a line for each thing, what a person must know, and the settings that read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Line(NamedTuple):
    """One thing that was found.

    ``point``: ``device/point`` as the settings call it; empty: they do not read it, and ``seen`` says why. ``place``:
    where it is, in the protocol's own words. ``kind``: what is there. ``value``: the newest, with its unit. ``seen``:
    how often, or in which state.
    """

    point: str
    place: str
    kind: str
    value: str
    seen: str


@dataclass
class Found:
    """The outcome of a discovery. ``notes``: what a person must know. ``devices``: the names of those that are read.

    ``readable``: the settings read something.
    """

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    readable: bool = False


class NotFound(Exception):
    """Nobody answers as asked; the message says who, why, and what to look at."""
