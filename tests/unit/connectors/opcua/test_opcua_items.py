"""A server that tells ever new names, or has ever so much to tell at once."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.object_ids import ObjectIds

from connectors.capture.opcua.messages import Request
from connectors.device import DeviceFeed
from connectors.lifecycle import Profile
from connectors.opcua.event_feed import EventFeed
from connectors.opcua.items import Items
from connectors.opcua.session import Session
from connectors.opcua.values import standard
from tests.unit.connectors.opcua.scripted import DECENT, URI, Talk, asked, settings
from tests.unit.connectors.test_device import Room

PATTERN = {"path": "*", "namespace": URI, "unit": "MW", "most": 5}
NEW = count(1)


def feed() -> DeviceFeed:
    return DeviceFeed(Room(100), "test", Profile("d", "test"))


def three_new(_talk: Talk, request: Request) -> ua.BrowseResponse:
    names = [f"N{next(NEW)}" for _ in range(3)]
    variables = [
        ua.ReferenceDescription(
            NodeId=ua.ExpandedNodeId(name, 1), BrowseName=ua.QualifiedName(name, 1), NodeClass=ua.NodeClass.Variable
        )
        for name in names
    ]
    return ua.BrowseResponse(Results=[ua.BrowseResult(References=variables)] * len(request.decoded().NodesToBrowse))


def test_items_when_other_variables_fit_each_time_are_no_more_than_wanted() -> None:
    async def look_again(client: Client) -> int:
        items = Items(settings("opc.tcp://127.0.0.1", browse=[PATTERN]), feed())
        for _ in range(4):
            await items.browse(client, 1)
        return len(items.nodes)

    assert asked(look_again, {"Browse": three_new}) == 1 + PATTERN["most"]


def test_items_when_a_server_has_very_many_namespaces_each_refusal_names_some() -> None:
    many = ua.DataValue(ua.Variant([f"urn:{'x' * 1000}:{number}" for number in range(1000)]))

    def read(talk: Talk, request: Request) -> ua.ReadResponse:
        names = [one.NodeId == standard(ObjectIds.Server_NamespaceArray) for one in request.decoded().NodesToRead]
        return ua.ReadResponse(Results=[many]) if all(names) else DECENT["Read"](talk, request)

    async def create(client: Client) -> dict[int, str]:
        items = Items(settings("opc.tcp://127.0.0.1"), feed())
        await items.create(client, 1)
        return items.refused

    refused = asked(create, {"Read": read})
    assert refused[1].startswith(f"the server has no namespace {URI}; it has urn:xxx")
    assert len(refused[1]) < 2000


@pytest.mark.parametrize("kind", ["values", "events"])
def test_session_when_one_message_has_very_much_to_tell_the_others_have_their_turn(kind: str) -> None:
    """What nobody asked for takes its time as well."""
    value, event = ua.MonitoredItemNotification(7, ua.DataValue()), ua.EventFieldList(7)
    part = (
        ua.DataChangeNotification([value] * 10_000)
        if kind == "values"
        else ua.EventNotificationList(Events=[event] * 10_000)
    )

    async def turns() -> int:
        had = 0

        async def other() -> None:
            nonlocal had
            while True:
                had += 1
                await asyncio.sleep(0)

        device = feed()
        server = settings("opc.tcp://127.0.0.1", events=[{}])
        running = asyncio.create_task(other())
        await Session(server, device, told=EventFeed(device))._take([part])
        running.cancel()
        return had

    assert asyncio.run(turns()) >= 10
