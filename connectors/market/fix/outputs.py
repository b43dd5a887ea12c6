"""What a FIX session is given and what it answers: who it is, where it stands, what its owner is to do."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from connectors.market.fix.codec import Message

Pairs = Sequence[tuple[int, bytes | str | int]]
"""Tags and values to be sent."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are and how we log on. Times are microseconds.

    ``reset``: both sides begin at 1 with every logon (141=Y); what was missed meanwhile cannot be had then.
    ``clock_tolerance``: how far SendingTime (52) may be from our clock.
    """

    sender: str
    target: str
    heartbeat: int = 30_000_000
    username: str | None = None
    password: str | None = None
    sender_sub: str | None = None
    target_sub: str | None = None
    reset: bool = False
    clock_tolerance: int = 120_000_000


class Phase(enum.Enum):
    """Where the session stands."""

    OFF = "off"
    LOGON = "logon sent"
    ON = "on"
    LOGOUT = "logout sent"
    ENDED = "ended"


class Send(msgspec.Struct, frozen=True, gc=False):
    """Bytes for the wire. The store must hold ``Session.next_out`` before they go."""

    data: bytes


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """An application message, in order, once."""

    message: Message
    sequence: int


class Passed(msgspec.Struct, frozen=True, gc=False):
    """An administrative message, or one without content, has its number counted: nothing is to be kept of it."""

    sequence: int


class LoggedOn(msgspec.Struct, frozen=True, gc=False):
    """The session is on. ``restarted``: the peer began anew at 1, so that what it sent meanwhile is lost."""

    restarted: bool


class Missing(msgspec.Struct, frozen=True, gc=False):
    """Messages ``first`` to ``last`` have not come; they are being asked for."""

    first: int
    last: int


class Filled(msgspec.Struct, frozen=True, gc=False):
    """The peer says that it will not send ``first`` to ``last`` (again): administrative, or not worth repeating."""

    first: int
    last: int


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the connection. ``person``: trying again alone will not help. ``astray``: the peer has lost its numbers, so
    that what it sends before they are right again is never taken."""

    reason: str
    person: bool = False
    astray: bool = False


Output = Send | Deliver | Passed | LoggedOn | Missing | Filled | Close
