"""Has the server report monitored items together with another one: SetTriggering (OPC 10000-4, section 5.13.5)."""

from __future__ import annotations

from collections.abc import Sequence

from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from connectors.opcua.values import status_name


async def link(client: Client, subscription: int, trigger: int, items: Sequence[int]) -> list[str]:
    """Have ``items`` reported whenever ``trigger`` changes; of each why the server does not, empty if it does.

    Items are named by the ids that the server gave them. Raises ua.UaError, OSError or TimeoutError when the connection
    breaks.
    """
    request = ua.SetTriggeringRequest()
    request.Parameters = ua.SetTriggeringParameters(
        SubscriptionId=subscription, TriggeringItemId=trigger, LinksToAdd=list(items), LinksToRemove=[]
    )
    try:
        # The library knows the service's messages and has no call for it.
        answer = await client.uaclient.session._send_request(request)
    except UaStatusCodeError as error:
        return [status_name(int(error.code))] * len(items)
    response = struct_from_binary(ua.SetTriggeringResponse, answer)
    fault = response.ResponseHeader.ServiceResult
    codes = (response.Parameters.AddResults or []) if fault.is_good() else [fault] * len(items)
    if len(codes) != len(items):
        return [f"{len(codes)} answers to {len(items)} links"] * len(items)
    return ["" if code.is_good() else status_name(int(code.value)) for code in codes]
