"""Finds nodes by browse path, and the types of events. Breadth first, each node looked at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.object_ids import ObjectIds

from connectors.opcua.look import DEEPEST, MOST_VISITED, Look
from connectors.opcua.nodes import TEMPLATE, Browse, Node
from connectors.opcua.values import standard
from schemas.base import IDENTIFIER_CHARACTERS

log = structlog.get_logger(__name__)
_MOST_TYPES = 10_000
_OBJECTS = standard(ObjectIds.ObjectsFolder)
_ANY = "**"
_UNNAMEABLE = re.compile(rf"[^{IDENTIFIER_CHARACTERS}]")
Path = tuple[str, ...]


async def find(client: Client, wanted: Browse, namespaces: Sequence[str]) -> list[Node]:
    """The variables that fit, each as a node to watch; at most ``wanted.most``, and a warning says when there are more.

    Raises ua.UaError, OSError or TimeoutError when the connection breaks.
    """
    pattern = tuple(wanted.path.split("/"))
    look = Look(client)
    level: dict[ua.NodeId, Path] = {_OBJECTS: ()}
    visited = {_OBJECTS}
    found: list[Node] = []
    for _ in range(DEEPEST):
        below: dict[ua.NodeId, Path] = {}
        async for node_above, children in look.below(level):
            for child in children:
                node_id, here = child.NodeId, (*level[node_above], str(child.BrowseName.Name))
                elsewhere = isinstance(node_id, ua.ExpandedNodeId) and node_id.ServerIndex
                if node_id in visited or elsewhere or len(visited) >= MOST_VISITED:
                    continue
                if may_lead(pattern, here):
                    visited.add(node_id)
                    below[node_id] = here
                if child.NodeClass is ua.NodeClass.Variable and fits(pattern, here):
                    visited.add(node_id)
                    if (node := _node(wanted, here, node_id, namespaces)) is not None:
                        found.append(node)
        level = below
    if len(visited) >= MOST_VISITED or len(found) > wanted.most:
        log.warning("more variables fit than are watched", path=wanted.path, found=len(found), most=wanted.most)
    if level or look.incomplete:
        why = look.incomplete or f"more than {DEEPEST} levels"
        log.warning("not all of the server was looked through for variables", path=wanted.path, why=why)
    return found[: wanted.most]


def fits(pattern: Path, path: Path) -> bool:
    """Whether the whole ``path`` is what ``pattern`` describes."""
    return len(pattern) in _reached(pattern, path)


def may_lead(pattern: Path, path: Path) -> bool:
    """Whether something below ``path`` may fit."""
    return any(place < len(pattern) for place in _reached(pattern, path))


def _reached(pattern: Path, path: Path) -> set[int]:
    """How many parts of the pattern can be used up by the path."""
    places = set(_skipping(pattern, 0))
    for name in path:
        after: set[int] = set()
        for place in places:
            if place == len(pattern):
                continue
            if pattern[place] == _ANY:
                after.update(_skipping(pattern, place))
            elif fnmatchcase(name, pattern[place]):
                after.update(_skipping(pattern, place + 1))
        places = after
    return places


def _skipping(pattern: Path, place: int) -> Iterator[int]:
    """``**`` stands for no name as well."""
    yield place
    while place < len(pattern) and pattern[place] == _ANY:
        place += 1
        yield place


def named(template: str, path: Path) -> str:
    """The point's name: what a name may not hold becomes ``_``, and what it may not begin with goes.

    A ``{n}`` beyond the path is empty.
    """

    def part(match: re.Match[str]) -> str:
        key = match[1]
        if key == "path":
            return "/".join(path)
        if key == "name":
            return path[-1]
        return path[int(key) - 1] if int(key) <= len(path) else ""

    name = _UNNAMEABLE.sub("_", TEMPLATE.sub(part, template)).lstrip("._:@/+-")
    return name[:200] or "unnamed"


def _node(wanted: Browse, path: Path, node_id: ua.NodeId, namespaces: Sequence[str]) -> Node | None:
    index = node_id.NamespaceIndex
    if index >= len(namespaces) or namespaces[index] != wanted.namespace:
        return None
    how = wanted.model_dump(exclude={"path", "namespace", "point", "most"})
    plain = ua.NodeId.to_string(node_id).removeprefix(f"ns={index};")
    # The settings have been checked already, with durations in seconds; here they are in microseconds.
    return Node.model_construct(
        **{key: getattr(wanted, key) for key in how},
        point=named(wanted.point, path),
        namespace=wanted.namespace,
        identifier=plain,
    )


async def object_at(client: Client, path: str) -> ua.NodeId | None:
    """The object at a browse path below Objects; None when there is none. Raises as :func:`find`."""
    look, here = Look(client), _OBJECTS
    for name in path.split("/"):
        fitting = [
            child.NodeId
            async for _, children in look.below([here])
            for child in children
            if child.BrowseName.Name == name and child.NodeClass is ua.NodeClass.Object
        ]
        if not fitting:
            return None
        here = fitting[0]
    return here


async def event_types(client: Client) -> dict[ua.NodeId, Path]:
    """The server's types of events: of each its name, after those of the types that it is derived from.

    Raises as :func:`find`.
    """
    root = standard(ObjectIds.BaseEventType)
    types: dict[ua.NodeId, Path] = {root: ("BaseEventType",)}
    look, level = Look(client), [root]
    for _ in range(DEEPEST):
        below: list[ua.NodeId] = []
        async for above, subtypes in look.below(level, ObjectIds.HasSubtype, ua.NodeClass.ObjectType):
            for reference in subtypes:
                if reference.NodeId not in types and len(types) < _MOST_TYPES:
                    types[reference.NodeId] = (*types[above], str(reference.BrowseName.Name))
                    below.append(reference.NodeId)
        level = below
    return types


def placed(namespaces: Sequence[str], namespace: str, identifier: str) -> ua.NodeId | None:
    """The node, by the index that the namespace has now; None when the server has no such namespace."""
    if namespace not in namespaces:
        return None
    return ua.NodeId.from_string(f"ns={namespaces.index(namespace)};{identifier}")
