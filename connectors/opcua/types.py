"""The types of a server's own, so that its structures can be read.

The library takes as many as it is told, sets a bit of any number, and lets one server put its own types in the place of
the standard's, for all servers. It knows a type by its number alone: what one server or an older program of it has said
of that number would lay out the bytes of another. What is installed here does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common import structures104
from asyncua.ua import uatypes

from connectors.opcua.bounds import CutOff

_MOST_TOLD = 20_000  # references between types, or pages of them; the standard has 1000
_HIGHEST_BIT = 63
_register: Callable[..., None] = ua.register_extension_object
_enumeration: Callable[..., dict[str, type]] = structures104.make_enum
_structure: Callable[..., dict[str, type]] = structures104.make_structure


async def load_types(client: Client, seconds: float) -> None:
    """Have the library know the server's structures and enumerations, as they are now.

    Raises CutOff when they are not taken, or another server has types that differ under the same numbers; ua.UaError,
    OSError or TimeoutError, and what the library raises for types that are wrong.
    """
    session = client.uaclient.session
    browse, browse_next = session.browse, session.browse_next
    count, telling = _Count(), _Telling(client.server_url.geturl())
    session.browse = count.of(browse)  # type: ignore[method-assign, assignment]
    session.browse_next = count.of(browse_next)  # type: ignore[method-assign, assignment]
    before = _telling.set(telling)
    try:
        async with asyncio.timeout(seconds):
            await client.load_data_type_definitions()
    finally:
        _telling.reset(before)
        session.browse, session.browse_next = browse, browse_next  # type: ignore[method-assign]
    if telling.refused:
        raise CutOff(telling.refused)


class _Count:
    def __init__(self) -> None:
        self._told = 0

    def of(self, ask: Callable[[Any], Awaitable[list[ua.BrowseResult]]]) -> Callable[[Any], Any]:
        """Ask so, until too much was told."""

        async def asked(parameters: Any) -> Sequence[ua.BrowseResult]:
            results = await ask(parameters)
            self._told += sum(1 + len(result.References or ()) for result in results)
            if self._told > _MOST_TOLD:
                raise CutOff(f"it told more than {_MOST_TOLD} types of its own")
            return results

        return asked


class _Telling:
    """One server that tells its types."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.refused = ""


_telling: ContextVar[_Telling | None] = ContextVar("telling", default=None)
_layouts: dict[ua.NodeId, tuple[Any, set[str]]] = {}
"""Of types and of their encodings: the layout, and the servers that have it."""


def _laid_out(data_type: Any, name: str, definition: Any, log_error: bool = True) -> dict[str, type]:
    made = _structure(data_type, name, definition, log_error)
    fields = (
        (one.Name, one.DataType, one.ValueRank, bool(one.ArrayDimensions), one.IsOptional, _part(one, data_type))
        for one in definition.Fields
    )
    made[name]._layout = definition.StructureType, tuple(fields)  # type: ignore[attr-defined]
    return made


def _part(field: Any, whole: Any) -> type | None:
    """The class of a field that is a structure or an enumeration itself: when that is another, the whole is, too."""
    if field.DataType == whole:
        return None
    return uatypes.extension_objects_by_datatype.get(field.DataType) or uatypes.enums_by_datatype.get(field.DataType)


def _registered(name: str, encoding: ua.NodeId, kind: Any, data_type: ua.NodeId | None = None) -> None:
    if not encoding.NamespaceIndex and encoding in ua.extension_objects_by_typeid:
        return
    telling = _telling.get()
    if telling is None:
        _register(name, encoding, kind, data_type)
        return
    layout = getattr(kind, "_layout", None)
    numbers = [number for number in (encoding, data_type) if number is not None]
    known = [_layouts[number] for number in numbers if number in _layouts]
    if len(known) == len(numbers) and all(one == layout for one, _ in known):
        for _, servers in known:
            servers.add(telling.server)
        return
    if others := sorted({server for one, servers in known for server in servers if one != layout} - {telling.server}):
        telling.refused = (
            f"its type {name} ({data_type}) is laid out otherwise than what {others[0]} has under the same numbers: "
            "read the structures of the two in processes of their own"
        )
        return
    if (before := ua.extension_objects_by_typeid.get(encoding)) is not None:
        ua.typeid_by_extension_objects.pop(before, None)
        uatypes.datatype_by_extension_object.pop(before, None)
    _register(name, encoding, kind, data_type)
    kind.data_type = None  # by which the library would know it, and not ask the next time
    for number in numbers:
        _layouts[number] = (layout, {telling.server})


def _counted_bits(name: str, definition: Any, option_set: bool) -> dict[str, type]:
    bits = [getattr(one, "Value", 0) for one in getattr(definition, "Fields", None) or ()] if option_set else []
    if bits and not 0 <= min(bits) <= max(bits) <= _HIGHEST_BIT:
        raise ValueError(f"{name} has bits beyond 0 to {_HIGHEST_BIT}")
    return _enumeration(name, definition, option_set)


ua.register_extension_object = _registered  # type: ignore[assignment]
structures104.make_enum = _counted_bits  # type: ignore[assignment]
structures104.make_structure = _laid_out  # type: ignore[assignment]
