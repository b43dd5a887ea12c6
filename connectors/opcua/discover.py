"""What an OPC UA server has: its variables with values, units and ranges, and the settings that watch them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError
from pydantic import ValidationError
from tomlkit.items import Table

from connectors import clock
from connectors.discovery.document import rows
from connectors.discovery.found import Found, Line, NotFound
from connectors.discovery.names import name_of
from connectors.discovery.tasks import run
from connectors.opcua.certificates import certificates_of
from connectors.opcua.config import OpcUaServer
from connectors.opcua.connector import explained
from connectors.opcua.nodes import Node
from connectors.opcua.security import client_for
from connectors.opcua.session import close
from connectors.opcua.values import Sampled, UnusableTime, code_of, content, sampled, standard, status_name
from connectors.opcua.variables import Variable, numbers, variables

MOST_POINTS = 5_000
_EVENTS = 1  # of the attribute EventNotifier: bit 0 (OPC 10000-3, section 8.59)


class _Point(NamedTuple):
    """A number: its variable, its value now, and its entry in the settings."""

    variable: Variable
    sample: Sampled
    entry: dict[str, Any]


def discover(section: Table, server: OpcUaServer, seconds: float, stop: threading.Event) -> Found:
    """Look through the server for ``seconds`` at most, and fill its ``section``. Raises NotFound."""
    return run(lambda: _discover(section, server, seconds), stop)


async def _discover(section: Table, server: OpcUaServer, seconds: float) -> Found:
    certificates = certificates_of(server)
    try:
        client = await client_for(server, certificates)
        try:
            await client.connect()
            return await _look(client, server.name, section, seconds)
        finally:
            await close(client)
    except (UaError, OSError, TimeoutError, ValueError) as error:
        raise NotFound(explained(server, error, certificates)) from error


async def _look(client: Client, device: str, section: Table, seconds: float) -> Found:
    namespaces = await client.get_namespace_array()
    all_found, why = await variables(client, asyncio.get_running_loop().time() + seconds)
    found = Found()
    points = _points([one for one in all_found if one.node.NamespaceIndex < len(namespaces)], device, namespaces, found)
    if why:
        found.notes.append(why)
    if without := sum(content(one.data) is None for one in all_found):
        found.notes.append(f"{without} variables have no value now and are left out: look again when they have")
    if not all_found:
        found.notes.append("the server has no variables of its own below Objects, or this user may not see them")
    if await _offers_events(client):
        found.notes.append("the server offers events: [[opcua.events]] takes them and its alarms to the topic events")
    if points:
        section.add("nodes", rows((one.entry, _remark(one)) for one in points))
        found.readable = True
    return found


def _points(all_found: Sequence[Variable], device: str, namespaces: Sequence[str], found: Found) -> list[_Point]:
    """What can be recorded, named; each and what cannot has its line."""
    same = _common([one.path for one in all_found])
    points: list[_Point] = []
    taken: set[str] = set()
    now = clock.now()
    for one in all_found:
        place, value, code = "/".join(one.path), content(one.data), code_of(one.data)
        kind = "" if one.data.Value is None else one.data.Value.VariantType.name
        selects = list(numbers(value))
        if not selects:
            found.lines.append(Line("", place, kind, _shown(value), f"not read: {_why_not(one.data)}"))
        for select in selects:
            if len(points) >= MOST_POINTS:
                found.lines.append(Line("", place, kind, "", f"not read: more than {MOST_POINTS} points"))
                continue
            try:
                sample = sampled(one.data, now, select=select)
            except UnusableTime as error:
                found.lines.append(Line("", place, kind, _shown(value), f"not read: {error}"))
                break
            wanted = "/".join(one.path[same:]) + _suffix(select)
            name = name_of(wanted, taken, otherwise="point")
            entry = _entry(one, select, name, namespaces)
            try:
                Node.model_validate({key: value for key, value in entry.items() if value is not None})
            except ValidationError as error:
                found.lines.append(Line("", place, kind, "", f"not read: {error.errors()[0]['msg']}"))
                continue
            taken.add(name)
            points.append(_Point(one, sample, entry))
            number = "" if sample.value is None else f"{sample.value:.6g} {one.said or one.unit or ''}".strip()
            where = f"{place} {select}" if select else place
            found.lines.append(Line(f"{device}/{name}", where, kind, number, status_name(code)))
    return points


def _suffix(select: str | None) -> str:
    return "" if select is None else f".{select.strip('[]')}"


def _common(paths: Sequence[tuple[str, ...]]) -> int:
    """How many first names all paths share, so that something is left of each."""
    count = 0
    while paths and all(len(path) > count + 1 and path[count] == paths[0][count] for path in paths):
        count += 1
    return count


def _why_not(data: ua.DataValue) -> str:
    if (code := code_of(data)) >> 30:
        return status_name(code)
    return "no value" if content(data) is None else "no number"


def _shown(value: object) -> str:
    return str(value)[:60] if isinstance(value, str | int | float) else ""


async def _offers_events(client: Client) -> bool:
    try:
        said = await client.get_node(standard(ObjectIds.Server)).read_attribute(AttributeIds.EventNotifier)
    except UaError:
        return False
    value = content(said)
    return isinstance(value, int) and bool(value & _EVENTS)


def _entry(one: Variable, select: str | None, name: str, namespaces: Sequence[str]) -> dict[str, Any]:
    index = one.node.NamespaceIndex
    low_high = one.range if select is None else None
    return {
        "point": name,
        "namespace": namespaces[index],
        "identifier": ua.NodeId.to_string(one.node).removeprefix(f"ns={index};"),
        "select": select,
        "unit": one.unit or "1",
        "range": None if low_high is None else {"minimum": low_high[0], "maximum": low_high[1]},
    }


def _remark(one: _Point) -> str:
    said = "no value now" if one.sample.value is None else f"{one.sample.value:.6g}"
    if one.variable.unit is None:
        said += f" in {one.variable.said!r}: which unit (UCUM)?" if one.variable.said else "; which unit?"
    return said
