"""Settings of what is watched on a server: single nodes, and patterns that find them.

A node is named by the URI of its namespace and its identifier, never by the namespace index: that is renumbered when a
server restarts with other modules (OPC 10000-3, section 8.2.2).
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from connectors.checks import Measured
from connectors.fields import Name, Number, Section, seconds

TEMPLATE = re.compile(r"\{(path|name|[1-9]\d?)\}")
_QUEUE = 100


def _identifier(value: str) -> str:
    kind, _, text = value.partition("=")
    problem = "expected i=NUMBER, s=TEXT, g=GUID or b=BASE64"
    if kind == "i" and re.fullmatch(r"[0-9]{1,10}", text) and int(text) < 2**32:
        return value
    if kind == "s" and text:
        return value
    try:
        if (kind == "g" and uuid.UUID(text)) or (kind == "b" and base64.b64decode(text, validate=True)):
            return value
    except (ValueError, binascii.Error) as error:
        problem += f" ({error})"
    raise ValueError(f"{value!r} is no node identifier; {problem}")


def _select(value: str) -> str:
    if not re.fullmatch(r"(\[\d{1,9}\]|[^\W\d]\w*)((\.[^\W\d]\w*)|\[\d{1,9}\])*", value):
        raise ValueError(f"{value!r} is no place in a value; expected as in Power.Active, [2], Phases[0].Current")
    return value


def browse_path(value: str) -> str:
    """Check names from the Objects folder on. Raises ValueError."""
    if any(name == "" for name in value.split("/")):
        raise ValueError(f"{value!r} is no browse path; expected names separated by /, as in Plant/Turbine*/Power")
    if any("**" in name and name != "**" for name in value.split("/")):
        raise ValueError(f"{value!r}: ** stands for whole names and must stand alone between two /")
    return value


def _template(value: str) -> str:
    if not TEMPLATE.search(value) or re.search(r"[{}]", TEMPLATE.sub("", value)):
        raise ValueError(f"{value!r} would give every point one name; use {{path}}, {{name}}, {{1}}, {{2}}, …")
    return value


Identifier = Annotated[str, Field(max_length=4096), AfterValidator(_identifier)]
Namespace = Annotated[str, Field(min_length=1, max_length=1000)]


class Deadband(Section):
    """Changes smaller than this are not reported by the server: in the node's unit, or in percent of its EURange."""

    absolute: Annotated[Number, Field(gt=0)] | None = None
    percent: Annotated[Number, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.absolute is None) == (self.percent is None):
            raise ValueError("give either absolute or percent")
        return self


class Watched(Measured):
    """How a variable is watched.

    ``sampling_interval``: how often the server looks; ``queue_size``: how many samples it keeps between two publishings
    (more than publishing over sampling interval, or samples are lost there). ``silence``: seconds without a new value
    after which a gap is recorded; left out for values that may rest. ``select``: the number's place in a structure or
    an array: ``Power.Active``, ``[2]``, ``Phases[0].Current``. ``triggered_by``: a point of the server's ``nodes``;
    samples are reported only when that one changes, the last ``queue_size`` of them, left out: the last one.
    """

    sampling_interval: Annotated[int, seconds(least=0.01, most=3600)] = 500_000
    queue_size: Annotated[int, Field(strict=True, ge=2, le=100_000)] | None = None
    deadband: Deadband | None = None
    silence: Annotated[int, seconds(least=0.1)] | None = None
    select: Annotated[str, Field(max_length=1000), AfterValidator(_select)] | None = None
    triggered_by: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @property
    def queue(self) -> int:
        """How many samples the server is asked to keep."""
        return self.queue_size or (_QUEUE if self.triggered_by is None else 1)

    @model_validator(mode="after")
    def _silence_is_the_triggers(self) -> Self:
        if self.triggered_by is not None and self.silence is not None:
            raise ValueError("a node that waits for its trigger may be silent: give silence to the trigger")
        return self


class Node(Watched):
    """One node and the point that it becomes. ``namespace``: its URI as in the server's NamespaceArray."""

    point: Name
    namespace: Namespace
    identifier: Identifier


class Browse(Watched):
    """All variables whose browse path fits, found on the server; each becomes a point.

    ``path``: browse names from the Objects folder on, separated by ``/``; ``*`` and ``?`` stand for characters of a
    name, ``**`` for any number of names. ``namespace``: only variables of this one, by URI. ``point``: what a point is
    called; ``{path}`` is the whole path with ``/``, ``{name}`` its last name, ``{1}`` its first name and so on.
    ``most``: how many points at most.
    """

    path: Annotated[str, Field(max_length=1000), AfterValidator(browse_path)]
    namespace: Namespace
    point: Annotated[str, Field(max_length=200), AfterValidator(_template)] = "{path}"
    most: Annotated[int, Field(strict=True, ge=1, le=20_000)] = 1000
