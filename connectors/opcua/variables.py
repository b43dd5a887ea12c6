"""The variables of a server that nobody has described yet: where they are, what they hold, in which unit and range."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.node import Node
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError

from connectors.opcua.bounds import CutOff, each
from connectors.opcua.browse import Path
from connectors.opcua.limits import at_once
from connectors.opcua.look import Look
from connectors.opcua.transport import received
from connectors.opcua.types import load_types
from connectors.opcua.units import unit_of
from connectors.opcua.values import content, standard

MOST_NODES = 20_000
"""Objects, variables and properties that are looked at."""
_DEPTH = 20
_PORTION = 100
_ELEMENTS = 16
_MOST_BYTES = 128 * 1024 * 1024
_TYPES_SECONDS = 10.0
_LIMIT = 1e18  # of schemas.base.Value
_PROPERTIES = ("EngineeringUnits", "EURange")


@dataclass
class Variable:
    """One variable. ``path``: browse names below Objects. ``said``: the unit in the server's words."""

    node: ua.NodeId
    path: Path
    properties: dict[str, ua.NodeId] = field(default_factory=dict)
    data: ua.DataValue = field(default_factory=ua.DataValue)
    unit: str | None = None
    said: str = ""
    range: tuple[float, float] | None = None


async def variables(client: Client, until: float) -> tuple[list[Variable], str]:
    """The variables below Objects with their values, less the server's own; and why there may be more.

    ``until``: the loop's time at which looking further ends. Raises as :func:`connectors.opcua.browse.find`.
    """
    found, why = await _walk(client, until)
    await _read(client, found)
    if any(isinstance(content(one.data), ua.ExtensionObject) for one in found):
        # Without their types structures are bytes. A server that cannot tell them has none for us.
        with suppress(UaError, TimeoutError, ValueError, TypeError, AttributeError, KeyError, RuntimeError):
            await load_types(client, _TYPES_SECONDS)
            await _read(client, found)
    await _describe(client, found)
    return found, why


async def _walk(client: Client, until: float) -> tuple[list[Variable], str]:
    own, property_ = standard(ObjectIds.Server), standard(ObjectIds.HasProperty)
    look, top = Look(client), standard(ObjectIds.ObjectsFolder)
    level: dict[ua.NodeId, tuple[Path, Variable | None]] = {top: ((), None)}
    visited = {own, top}
    found: list[Variable] = []
    for _ in range(_DEPTH):
        below: dict[ua.NodeId, tuple[Path, Variable | None]] = {}
        async for node_above, children in look.below(level):
            if asyncio.get_running_loop().time() > until:
                return found, "the time was over: --for SECONDS looks longer"
            path, above = level[node_above]
            for child in children:
                node, name = child.NodeId, str(child.BrowseName.Name)
                if node in visited or (isinstance(node, ua.ExpandedNodeId) and node.ServerIndex):
                    continue
                if len(visited) >= MOST_NODES:
                    return found, f"more than {MOST_NODES} nodes are not looked at"
                visited.add(node)
                if child.ReferenceTypeId == property_:
                    if above is not None and name in _PROPERTIES:
                        above.properties[name] = node
                    continue
                here = (*path, name)
                one = Variable(node, here) if child.NodeClass is ua.NodeClass.Variable else None
                if one is not None and node.NamespaceIndex:
                    found.append(one)
                below[node] = (here, one)
        level = below
    return found, f"below {_DEPTH} levels nothing was looked for" if level else look.incomplete


async def _read(client: Client, found: Sequence[Variable]) -> None:
    nodes = [one.node for one in found]
    for one, data in zip(found, await _values(client, nodes), strict=True):
        one.data = data


async def _values(client: Client, nodes: Sequence[ua.NodeId]) -> list[ua.DataValue]:
    portion = await at_once(client, ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead, _PORTION)
    found: list[ua.DataValue] = []
    for start in range(0, len(nodes), portion):
        part: list[Node] = [client.get_node(node) for node in nodes[start : start + portion]]
        found += each(await client.read_attributes(part), len(part))
        if received(client) > _MOST_BYTES:
            raise CutOff(f"it sent {received(client)} bytes; at most {_MOST_BYTES} are looked through")
    return found


async def _describe(client: Client, found: Sequence[Variable]) -> None:
    wanted = [(one, name, node) for one in found for name, node in one.properties.items()]
    for (one, _, _), data in zip(wanted, await _values(client, [node for *_, node in wanted]), strict=True):
        value = content(data)
        if isinstance(value, ua.EUInformation):
            one.said = str((value.DisplayName.Text if value.DisplayName else None) or "")
            one.unit = unit_of(value.NamespaceUri, value.UnitId, one.said)
        elif isinstance(value, ua.Range):
            low, high = value.Low, value.High
            if math.isfinite(low) and math.isfinite(high) and -_LIMIT <= low < high <= _LIMIT:
                one.range = (low, high)


def numbers(value: Any) -> Iterator[str | None]:
    """Where numbers are in a value, as ``select`` names them; None: the value is one itself."""
    if isinstance(value, bool | int | float):
        yield None
    elif isinstance(value, list):
        numeric = value and all(isinstance(one, bool | int | float) for one in value)
        yield from (f"[{place}]" for place in range(min(len(value), _ELEMENTS)) if numeric)
    elif is_dataclass(value):
        for one in fields(value):
            if isinstance(getattr(value, one.name), bool | int | float) and one.name.isidentifier():
                yield one.name
