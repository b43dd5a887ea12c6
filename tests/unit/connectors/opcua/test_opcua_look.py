"""A server that goes on and on telling what is below its nodes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from math import inf

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.object_ids import ObjectIds

from connectors.capture.opcua.messages import Request
from connectors.opcua import look, variables
from connectors.opcua.bounds import CutOff
from connectors.opcua.browse import event_types, find
from connectors.opcua.look import DEEPEST, Look
from connectors.opcua.nodes import Browse
from tests.unit.connectors.opcua.scripted import URI, Talk, asked

EVERYTHING = Browse.model_validate({"path": "**", "namespace": URI, "unit": "MW", "most": 20_000})
TOP = ua.NodeId(ObjectIds.ObjectsFolder)
NEW = count(1)


def page(length: int = 1, name: str = "N") -> list[ua.ReferenceDescription]:
    """So many nodes that were not told before."""
    return [
        ua.ReferenceDescription(
            ReferenceTypeId=ua.NodeId(ObjectIds.Organizes),
            NodeId=ua.ExpandedNodeId(next(NEW), 1),
            BrowseName=ua.QualifiedName(name, 1),
            NodeClass=ua.NodeClass.Variable,
        )
        for _ in range(length)
    ]


def told(result: ua.BrowseResult) -> Callable[[Talk, Request], ua.BrowseResponse]:
    return lambda _talk, request: ua.BrowseResponse(Results=[result for _ in request.decoded().NodesToBrowse])


async def below(client: Client) -> tuple[int, str]:
    """How many nodes are below two others, and why not all of them are."""
    one = Look(client)
    found = [len(children) async for _, children in one.below([TOP, ua.NodeId(ObjectIds.TypesFolder)])]
    return sum(found), one.incomplete


@pytest.mark.parametrize(("length", "most"), [(0, 0), (1, 30), (1000, 5000)])
def test_look_when_a_continuation_point_never_ends_is_content_with_a_part(monkeypatch, length, most) -> None:
    monkeypatch.setattr(look, "_MOST_PAGES", 28)
    monkeypatch.setattr(look, "MOST_VISITED", 3000)
    pages = 0

    def more(_talk: Talk, _asked: Request) -> ua.BrowseNextResponse:
        nonlocal pages
        pages += 1
        return ua.BrowseNextResponse(Parameters=ua.BrowseNextResult([endless]))

    endless = ua.BrowseResult(ContinuationPoint=b"more", References=page(length))
    assert asked(below, {"Browse": told(endless), "BrowseNext": more}) == (
        most,
        "the server goes on and on telling what is below a node",
    )
    assert pages <= 28


def test_look_when_names_are_longer_than_any_may_be_leaves_them_out(monkeypatch) -> None:
    mixed = ua.BrowseResult(References=[*page(), *page(name="N" * 513), *page(name="N" * 512)])
    assert asked(below, {"Browse": told(mixed)}) == (4, "names of more than 512 characters are left out")
    monkeypatch.setattr(look, "_MOST_CHARACTERS", 1000)
    long = ua.BrowseResult(References=page(30, "N" * 100))
    full = "the server's names fill the room that there is for them"
    assert asked(below, {"Browse": told(long)}) == (10, full)


@pytest.mark.parametrize("act", [lambda client: find(client, EVERYTHING, ["", URI]), event_types])
def test_look_when_there_is_always_another_level_ends(act) -> None:
    levels = 0

    def deeper(_talk: Talk, _asked: Request) -> ua.BrowseResponse:
        nonlocal levels
        levels += 1
        return ua.BrowseResponse(Results=[ua.BrowseResult(References=page())])

    assert len(asked(act, {"Browse": deeper})) >= DEEPEST
    assert levels == DEEPEST


@pytest.mark.parametrize("results", [[], [ua.BrowseResult()] * 3])
def test_look_when_there_are_more_or_less_results_than_nodes_says_so(results) -> None:
    with pytest.raises(CutOff, match=f"it gave {len(results)} results to 2 questions"):
        asked(below, {"Browse": lambda *_: ua.BrowseResponse(Results=results)})


def test_variables_when_their_values_are_large_are_looked_through_no_further(monkeypatch) -> None:
    monkeypatch.setattr(variables, "_MOST_BYTES", 1_000_000)
    monkeypatch.setattr(variables, "_PORTION", 10)
    nodes = [ua.BrowseResponse(Results=[ua.BrowseResult(References=page(1000))])]
    read = 0

    def large(_talk: Talk, request: Request) -> ua.ReadResponse:
        nonlocal read
        wanted = request.decoded().NodesToRead
        read += len(wanted)
        return ua.ReadResponse(Results=[ua.DataValue(ua.Variant("x" * 20_000))] * len(wanted))

    def browse(_talk: Talk, request: Request) -> ua.BrowseResponse:
        none = ua.BrowseResponse(Results=[ua.BrowseResult()] * len(request.decoded().NodesToBrowse))
        return nodes.pop() if nodes else none

    with pytest.raises(CutOff, match="at most 1000000 are looked through"):
        asked(lambda client: variables.variables(client, inf), {"Browse": browse, "Read": large})
    assert read < 100
