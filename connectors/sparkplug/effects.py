"""What a Sparkplug host application is to do about a message. Pure; times are microseconds unless said otherwise."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from connectors.sparkplug.address import Node, Scope
from connectors.sparkplug.payload import Metric


class Cause(enum.StrEnum):
    """Why a node or device is down."""

    DEATH = "death"
    LOSS = "loss"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a birth says of a metric. ``members``: datatypes of a template's members."""

    name: str
    datatype: int
    unit: str | None
    members: dict[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value. ``place``: of the metric in its message; ``sent``: milliseconds, the message's own time."""

    scope: Scope
    definition: Definition
    metric: Metric
    sent: int | None
    bdseq: int
    seq: int
    place: int


@dataclass(frozen=True, slots=True)
class Up:
    """The scope is born; its values follow."""

    scope: Scope


@dataclass(frozen=True, slots=True)
class Down:
    """Nothing that was known of the scope holds any more.

    ``time``: when, if the node says so. ``count``: messages missing, modulo 256, if known.
    """

    scope: Scope
    cause: Cause
    time: int | None
    detail: str
    first: int | None = None
    last: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the node a rebirth request."""

    node: Node
    why: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """The message, or with ``metric`` that part of it, was not taken; ``letter``: it is worth keeping as it came."""

    node: Node
    why: str
    letter: bool = False


Effect = Sample | Up | Down | Ask | Dropped


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one message led to, now that it is done with; ``token`` is what came with it, None for the clock's doing."""

    token: object | None
    effects: list[Effect]
