"""Servers that would fill the memory or never end, beside one that is decent."""

from __future__ import annotations

import asyncio
import struct
from contextlib import ExitStack
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from connectors.capture.opcua.messages import Request
from connectors.opcua.bounds import MOST_ELEMENTS
from connectors.opcua.connector import OpcUaConnector
from schemas.devices import DeviceState
from tests.conftest import wait_until
from tests.unit.connectors.opcua.scripted import DECENT, Answer, Scripted, Talk, changed, head, settings

MANY = MOST_ELEMENTS + 1


def then(crime: Answer) -> dict[str, Answer]:
    """Decent until the first value is there."""

    def publish(talk: Talk, asked: Request) -> Any:
        return DECENT["Publish"](talk, asked) if talk.published == 0 else crime(talk, asked)

    return {"Publish": publish}


def crowd(_talk: Talk, _asked: Request) -> ua.PublishResponse:
    item = struct_to_binary(ua.MonitoredItemNotification(1, ua.DataValue()))
    body = struct.pack("<i", MANY) + item * MANY + struct.pack("<i", -1)
    kind = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
    message = ua.NotificationMessage(2, NotificationData=[ua.ExtensionObject(kind, body)])
    return ua.PublishResponse(Parameters=ua.PublishResult(SubscriptionId=1, NotificationMessage=message))


def unasked(talk: Talk, asked: Request) -> None:
    talk.say(asked.number + 1000, struct_to_binary(ua.PublishResponse()))


def junk(talk: Talk, asked: Request) -> None:
    talk.say(asked.number, struct_to_binary(ua.PublishResponse())[:30])


def chunk(talk: Talk, _asked: Request) -> None:
    talk.writer.write(head(b"MSG", 2**31))


CRIMES: dict[str, tuple[dict[str, Answer], bytes, str]] = {
    "greeting": ({}, head(b"ACK", 2**32 - 1), "it sent a chunk of 4294967295 bytes; at most 65535 are taken"),
    "chunk": (then(chunk), b"", "it sent a chunk of 2147483648 bytes; at most 65535 are taken"),
    "crowd": (then(crowd), b"", f"it sent a list of {MANY} elements; at most {MOST_ELEMENTS} are taken in one message"),
    "unasked": (then(unasked), b"", "which is not open"),
    "junk": (then(junk), b"", "it sent what cannot be read as PublishResponse"),
}


def steady(talk: Talk, asked: Request) -> None:
    """A new value twenty times a second."""
    talk.published += 1
    value = changed([(1, float(talk.published))], talk.published)
    asyncio.get_running_loop().call_later(0.05, talk.channel.respond, asked, value)


def test_opcua_when_servers_are_hostile_each_is_cut_off_with_its_reason_and_the_decent_one_goes_on(tape, running):
    with ExitStack() as stack:
        decent = stack.enter_context(Scripted({"Publish": steady}))
        hostile = {name: stack.enter_context(Scripted(answers, hello)) for name, (answers, hello, _) in CRIMES.items()}
        servers = [settings(one.url, name=name) for name, one in (*hostile.items(), ("decent", decent))]
        with running(lambda publisher: OpcUaConnector(servers, publisher)):
            for name, (_, _, why) in CRIMES.items():
                tape.until(lambda name=name, why=why: told(tape, name, why), f"{name} is cut off: {why}")
            wait_until(lambda: all(one.came > 1 for one in hostile.values()))
            seen = tape.samples("a", "decent")[-1].value
            tape.until(lambda: tape.samples("a", "decent")[-1].value > seen, "what is decent")
    values = [sample.value for sample in tape.samples("a", "decent")]
    assert values == [float(number) for number in range(1, len(values) + 1)], "in one session, none missing"


def told(tape: Any, device: str, why: str) -> bool:
    return any(one.device == device and one.state is DeviceState.DOWN and why in one.reason for one in tape.devices)
