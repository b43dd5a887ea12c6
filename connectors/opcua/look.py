"""One look through a server: what is below its nodes, in portions that it takes, and no further than a look may go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.object_ids import ObjectIds

from connectors.opcua.bounds import each
from connectors.opcua.limits import at_once
from connectors.opcua.values import standard

MOST_VISITED = 200_000
DEEPEST = 100
"""Levels below where a look begins."""
_PORTION = 100
_MOST_PAGES = 10_000  # beyond the first of each node
_MOST_CHARACTERS = 64 * 1024 * 1024
_LONGEST_NAME = 512  # OPC 10000-3, section 8.3
_LONGEST_IDENTIFIER = 4096  # OPC 10000-3, section 8.2.4
_LIMIT = ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse
_TOLD = ua.BrowseResultMask.BrowseName | ua.BrowseResultMask.NodeClass | ua.BrowseResultMask.ReferenceTypeId


class Look:
    """``incomplete``: why not all was looked at; empty when it was."""

    def __init__(self, client: Client) -> None:
        self.incomplete = ""
        self._client = client
        self._portion = 0
        self._pages = _MOST_PAGES
        self._characters = _MOST_CHARACTERS

    async def below(
        self,
        nodes: Iterable[ua.NodeId],
        kind: int = ObjectIds.HierarchicalReferences,
        classes: int = ua.NodeClass.Object | ua.NodeClass.Variable,
    ) -> AsyncIterator[tuple[ua.NodeId, list[ua.ReferenceDescription]]]:
        """Each of ``nodes``, and what is below it by references of a kind: objects and variables, or other ``classes``.

        Raises ua.UaError, OSError or TimeoutError when the connection breaks.
        """
        self._portion = self._portion or await at_once(self._client, _LIMIT, _PORTION)
        waiting = list(nodes)
        for start in range(0, len(waiting), self._portion):
            part = waiting[start : start + self._portion]
            for node, found in zip(part, await self._ask(part, kind, classes), strict=True):
                yield node, found

    async def _ask(self, nodes: Sequence[ua.NodeId], kind: int, classes: int) -> list[list[ua.ReferenceDescription]]:
        descriptions = [
            ua.BrowseDescription(
                NodeId=node,
                BrowseDirection=ua.BrowseDirection.Forward,
                ReferenceTypeId=standard(kind),
                IncludeSubtypes=True,
                NodeClassMask=classes,
                ResultMask=_TOLD,
            )
            for node in nodes
        ]
        session = self._client.uaclient.session
        parameters = ua.BrowseParameters(RequestedMaxReferencesPerNode=0, NodesToBrowse=descriptions)
        found: list[list[ua.ReferenceDescription]] = []
        together = 0
        for result in each(await session.browse(parameters), len(nodes)):
            below = self._taken(result)
            while result.ContinuationPoint:
                if not self._pages or together + len(below) > MOST_VISITED:
                    self.incomplete = "the server goes on and on telling what is below a node"
                    break
                self._pages -= 1
                more = ua.BrowseNextParameters(
                    ReleaseContinuationPoints=False, ContinuationPoints=[result.ContinuationPoint]
                )
                (result,) = each(await session.browse_next(more), 1)
                below += self._taken(result)
            together += len(below)
            found.append(below)
        return found

    def _taken(self, result: ua.BrowseResult) -> list[ua.ReferenceDescription]:
        """The references, less those whose names no server may give."""
        taken = []
        for one in result.References or ():
            name, identifier = str(one.BrowseName.Name), one.NodeId.Identifier
            length = len(identifier) if isinstance(identifier, str | bytes) else 0
            if len(name) > _LONGEST_NAME or length > _LONGEST_IDENTIFIER:
                self.incomplete = f"names of more than {_LONGEST_NAME} characters are left out"
                continue
            self._characters -= len(name) + length
            if self._characters < 0:
                self.incomplete = "the server's names fill the room that there is for them"
                break
            taken.append(one)
        return taken
