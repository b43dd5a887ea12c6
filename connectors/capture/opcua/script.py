"""What a server of a recording says, in its order, and to which request. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from connectors.capture.frames import Direction, Frame
from connectors.capture.opcua.messages import Malformed, Request, Splitter, request
from connectors.opcua.values import standard

PUBLISH = "Publish"
CLOSE = "CloseSession"
_NEW_EACH_TIME = frozenset({"CreateSession", "ActivateSession", PUBLISH})
"""Nonces, names and signatures; what is acknowledged depends on when it came."""
_LARGEST_PROBE = 100  # bytes
_WORDS = 200


@dataclasses.dataclass(eq=False)
class Step:
    """One response of the server. ``at``: microseconds since the recording began; ``then``: the request it answers;
    ``now``: the one that is to be answered, once it has come."""

    at: int
    then: Request
    answer: bytes
    now: Request | None = None

    def fits(self, asked: Request) -> bool:
        """Whether ``asked`` is the same request."""
        then = self.then
        return then.service == asked.service and (then.service in _NEW_EACH_TIME or then.meant == asked.meant)


@dataclasses.dataclass(frozen=True)
class Script:
    """The responses of one connection, and the requests that got none."""

    steps: Sequence[Step]
    unanswered: Sequence[Request]


def script(recorded: Sequence[Frame]) -> Script:
    """The script of one connection. Raises Malformed when the recording holds something else than OPC UA.

    It ends where the connector took its leave. Left out is how channels are opened, and whether the server still runs,
    which the connector asks by the clock.
    """
    said, heard = Splitter(), Splitter()
    asked: dict[int, Request] = {}
    steps: list[Step] = []
    for frame in recorded:
        if frame.direction is Direction.SENT:
            for message in said.feed(frame.data):
                if message.kind != ua.MessageType.SecureMessage:
                    continue
                one = request(message)
                if one.service == CLOSE:
                    return Script(steps, list(asked.values()))
                if not is_probe(one):
                    asked[one.number] = one
        elif frame.direction is Direction.RECEIVED:
            answers = [one for one in heard.feed(frame.data) if one.number in asked]
            steps += [Step(frame.at, asked.pop(one.number), one.body) for one in answers]
    return Script(steps, list(asked.values()))


def is_probe(asked: Request) -> bool:
    """Whether it only asks if the server still runs."""
    if asked.service != "Read" or len(asked.body) > _LARGEST_PROBE:
        return False
    try:
        nodes = asked.decoded().NodesToRead
    except Malformed:
        return False
    return [one.NodeId for one in nodes] == [standard(ObjectIds.Server_ServerStatus_State)]


def difference(then: Request, now: Request) -> str:
    """The first place where two requests of one service are not the same, in words."""
    try:
        place, old, new = next(_differences("", then.decoded(), now.decoded()))
    except (Malformed, AttributeError, StopIteration):
        place, old, new = "", then.meant.hex(" "), now.meant.hex(" ")
    return f"{then.service}{place}: {_short(old)} was recorded, and came {_short(new)}"


def _differences(place: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if dataclasses.is_dataclass(old) and type(old) is type(new) and not isinstance(old, ua.NodeId | ua.Variant):
        for field in dataclasses.fields(old):
            yield from _differences(f"{place}.{field.name}", getattr(old, field.name), getattr(new, field.name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{place}[{number}]", one, other)
    elif old != new:
        yield place, old, new


def _short(value: Any) -> str:
    said = f"{len(value)} of them" if isinstance(value, list) else str(value)
    return said if len(said) <= _WORDS else f"{said[:_WORDS]} …"
