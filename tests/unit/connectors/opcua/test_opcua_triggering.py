"""What a server answers to SetTriggering, link by link; no server that can be had refuses a single one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from connectors.opcua.triggering import link


def answered(response: ua.SetTriggeringResponse) -> tuple[list[str], ua.SetTriggeringParameters]:
    """What is made of the response to items 7 and 8, and what was asked, both over the wire."""
    asked: list[bytes] = []

    async def send(request: ua.SetTriggeringRequest) -> Buffer:
        asked.append(struct_to_binary(request))
        return Buffer(struct_to_binary(response))

    client = SimpleNamespace(uaclient=SimpleNamespace(session=SimpleNamespace(_send_request=send)))
    found = asyncio.run(link(client, 3, 5, [7, 8]))
    return found, struct_from_binary(ua.SetTriggeringRequest, Buffer(asked[0])).Parameters


def test_link_when_the_server_refuses_one_of_two_says_which_and_why():
    response = ua.SetTriggeringResponse()
    response.Parameters.AddResults = [ua.StatusCode(), ua.StatusCode(ua.StatusCodes.BadMonitoredItemIdInvalid)]
    found, asked = answered(response)
    assert found == ["", "BadMonitoredItemIdInvalid"]
    assert (asked.SubscriptionId, asked.TriggeringItemId, asked.LinksToAdd) == (3, 5, [7, 8])
    assert not asked.LinksToRemove


def test_link_when_the_server_refuses_the_whole_request_it_is_the_answer_for_each():
    response = ua.SetTriggeringResponse()
    response.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadTooManyOperations)
    assert answered(response)[0] == ["BadTooManyOperations"] * 2


def test_link_when_the_server_answers_fewer_links_than_asked_none_is_believed():
    response = ua.SetTriggeringResponse()
    response.Parameters.AddResults = [ua.StatusCode()]
    assert answered(response)[0] == ["1 answers to 2 links"] * 2
