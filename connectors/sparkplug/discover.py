"""What Sparkplug B nodes say in their births, and the settings that read it. Pure.

What a value is only a birth says; a node is born when it connects and when it is asked to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tomlkit.items import Table

from connectors import clock
from connectors.discovery.document import noted, rows, section, sections
from connectors.discovery.found import Found, Line
from connectors.discovery.names import name_of
from connectors.discovery.units import ucum
from connectors.mqtt.discovery.heard import Heard
from connectors.mqtt.discovery.listen import Hearing
from connectors.sparkplug.address import Node, Scope, Verb, parse
from connectors.sparkplug.payload import BDSEQ, DataType, Limits, Metric, Refused, decode, rebirth_request
from connectors.sparkplug.values import NoNumber, Select, members_of, number

_MOST_POINTS = 5_000
_MOST_ASKED = 100
_ELEMENTS = 16
_TOLD = 5
_OWN = (BDSEQ, "Node Control/", "Device Control/")


class Rebirths:
    """Asks nodes for their births, each once."""

    def __init__(self) -> None:
        self._asked: set[Node] = set()

    def __call__(self, topics: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """The commands to the nodes of ``topics`` that have not been asked."""
        for topic in topics:
            address = parse(topic)
            if address is None or len(self._asked) >= _MOST_ASKED:
                continue
            verb, scope = address
            if scope.node not in self._asked:
                self._asked.add(scope.node)
                if verb is not Verb.NBIRTH:
                    yield scope.node.commands, rebirth_request(clock.wall() // 1000)


@dataclass
class _Said:
    """What a node or device has said of itself. ``born``: its birth was among it. ``live``: messages."""

    metrics: dict[str, Metric] = field(default_factory=dict)
    born: bool = False
    live: int = 0


class _Number(NamedTuple):
    """A number of a metric."""

    metric: Metric
    select: Select
    value: float


def discover(sparkplug: Table, hearing: Hearing, taken: Collection[str] = ()) -> Found:
    """Fill the section ``sparkplug`` with what reads the nodes that were heard.

    ``taken``: device names that others of the file have.
    """
    found = Found()
    devices: list[Table] = []
    names, points = set(taken), 0
    scopes = _scopes(hearing.heard, found)
    for scope, said in scopes:
        numbers: list[tuple[str, _Number]] = []
        used: set[str] = set()
        name = name_of(scope.device or scope.node.node, names, otherwise="node")
        for metric in said.metrics.values():
            for one in _numbers(metric, scope, found):
                if points + len(numbers) < _MOST_POINTS:
                    point = name_of("/".join(map(str, (metric.name, *one.select))), used, otherwise="metric")
                    used.add(point)
                    numbers.append((point, one))
        if not numbers:
            continue
        points += len(numbers)
        names.add(name)
        devices.append(_device(scope, name, numbers))
        seen = f"{said.live / max(hearing.seconds, 0.1):.2g}/s"
        for point, one in numbers:
            kind = DataType(one.metric.datatype).name
            shown = f"{one.value:.6g} {one.metric.unit or ''}".strip()
            found.lines.append(Line(f"{name}/{point}", f"{scope} {one.metric.name}", kind, shown, seen))
    if unborn := [str(scope) for scope, said in scopes if not said.born]:
        found.notes.append(
            f"{', '.join(unborn[:_TOLD])}{' and others' if len(unborn) > _TOLD else ''}: no birth came meanwhile, and "
            "only that names all that there is: --rebirth asks for it (a command to each edge node)"
        )
    if devices:
        if "host_id" not in sparkplug:
            sparkplug.add("host_id", noted("gridtape", "edge nodes name it as their primary host"))
        hearing.put_version(sparkplug)
        sparkplug.add("devices", sections(devices))
        found.readable = True
    return found


def _scopes(heard: Iterable[Heard], found: Found) -> list[tuple[Scope, _Said]]:
    scopes: dict[Scope, _Said] = {}
    for one in heard:
        address = parse(one.topic)
        if address is None:
            continue
        verb, scope = address
        said = scopes.setdefault(scope, _Said())
        said.live += one.live
        if verb in (Verb.NDEATH, Verb.DDEATH):
            continue
        for payload in one.payloads:
            try:
                metrics = decode(payload.raw, Limits(), is_retained=payload.retained).metrics
            except Refused as refused:
                found.notes.append(f"{one.topic}: {refused}")
                continue
            said.born |= verb in (Verb.NBIRTH, Verb.DBIRTH)
            for metric in metrics:
                if metric.name and metric.datatype in DataType.__members__.values():
                    said.metrics[metric.name] = metric
    return sorted(scopes.items())


def _numbers(metric: Metric, scope: Scope, found: Found) -> list[_Number]:
    """The numbers in a metric; why there are none has its line."""
    name = metric.name or ""
    if name.startswith(_OWN):
        return []
    kind = DataType(metric.datatype)
    if metric.is_null or kind in (DataType.DateTime, DataType.DateTimeArray):
        why = "no value now" if metric.is_null else "a time"
        found.lines.append(Line("", f"{scope} {name}", kind.name, "", f"not read: {why}"))
        return []
    members = members_of(metric.raw) if kind is DataType.Template else {}
    selects: list[Select] = [()]
    if kind.name.endswith("Array"):
        selects = [(place,) for place in range(_ELEMENTS)]
    elif kind is DataType.Template:
        selects = [(member,) for member in list(members)[:_ELEMENTS]]
    numbers, why = [], "no number"
    for select in selects:
        try:
            value, _ = number(metric.raw, metric.datatype, select, members)
        except NoNumber as error:
            why = str(error)
            continue
        numbers.append(_Number(metric, select, value))
    if not numbers:
        found.lines.append(Line("", f"{scope} {name}", kind.name, "", f"not read: {why}"))
    return numbers


def _device(scope: Scope, name: str, numbers: Iterable[tuple[str, _Number]]) -> Table:
    return section(
        {
            "name": name,
            "group": scope.node.group,
            "node": scope.node.node,
            "device": scope.device or None,
            "points": rows((_point(point, one), _remark(one)) for point, one in numbers),
        }
    )


def _point(name: str, one: _Number) -> dict[str, Any]:
    said = one.metric.unit
    unit = ucum(said or "") or "1"
    return {
        "metric": one.metric.name,
        "name": name,
        "unit": unit,
        "eng_unit": said if said is not None and said != unit else None,
        "select": list(one.select) or None,
    }


def _remark(one: _Number) -> str:
    said = one.metric.unit
    if said and ucum(said):
        return f"{one.value:.6g}"
    return f"{one.value:.6g}" + (f" in {said!r}: which unit (UCUM)?" if said else "; which unit?")
