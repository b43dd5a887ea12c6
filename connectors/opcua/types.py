"""The types of a server's own, so that its structures can be read.

The library takes as many as it is told, sets a bit of any number, and lets one server put its own types in the place of
the standard's, for all servers. What is installed here does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common import structures104

from connectors.opcua.bounds import CutOff

_MOST_TOLD = 20_000  # references between types, or pages of them; the standard has 1000
_HIGHEST_BIT = 63
_register: Callable[..., None] = ua.register_extension_object
_enumeration: Callable[..., dict[str, type]] = structures104.make_enum


async def load_types(client: Client, seconds: float) -> None:
    """Have the library know the server's structures and enumerations.

    Raises ua.UaError, OSError or TimeoutError, and what the library raises for types that are wrong.
    """
    session = client.uaclient.session
    browse, browse_next = session.browse, session.browse_next
    count = _Count()
    session.browse = count.of(browse)  # type: ignore[method-assign, assignment]
    session.browse_next = count.of(browse_next)  # type: ignore[method-assign, assignment]
    try:
        async with asyncio.timeout(seconds):
            await client.load_data_type_definitions()
    finally:
        session.browse, session.browse_next = browse, browse_next  # type: ignore[method-assign]


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


def _registered(name: str, encoding: ua.NodeId, *more: Any) -> None:
    if encoding.NamespaceIndex or encoding not in ua.extension_objects_by_typeid:
        _register(name, encoding, *more)


def _counted_bits(name: str, definition: Any, option_set: bool) -> dict[str, type]:
    bits = [getattr(one, "Value", 0) for one in getattr(definition, "Fields", None) or ()] if option_set else []
    if bits and not 0 <= min(bits) <= max(bits) <= _HIGHEST_BIT:
        raise ValueError(f"{name} has bits beyond 0 to {_HIGHEST_BIT}")
    return _enumeration(name, definition, option_set)


ua.register_extension_object = _registered  # type: ignore[assignment]
structures104.make_enum = _counted_bits  # type: ignore[assignment]
