"""Why a decision was made: the deciding rule, limit or switch with its version, and the exact inputs."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.base import Coordinates, Identifier, Record, Text


class Input(Record, frozen=True, kw_only=True):
    """One input record of a decision: where it stands, what part it played, what it said."""

    at: Coordinates
    role: Annotated[str, Meta(description="telemetry, price, position, exposure, limit, rule, intent, control, …")]
    summary: Text = ""


class Evidence(Record, frozen=True, kw_only=True):
    """The proof that a decision carries."""

    decided_by: Annotated[str, Meta(description="kind and id, for example limit:oil-gross or rule:wind-short")]
    version: Annotated[int, Meta(ge=0, description="version of the deciding rule or limit; 0 when built in")]
    inputs: list[Input]


class Check(Record, frozen=True, kw_only=True):
    """One check of the gate and how it came out."""

    name: Identifier
    passed: bool
    reason: Text = ""
