"""A server on loopback, without security, that says what a test tells it to and is decent otherwise."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from connectors.capture.opcua.channel import Channel
from connectors.capture.opcua.messages import Request
from connectors.opcua.config import OpcUaServer
from connectors.opcua.security import client_for
from connectors.opcua.values import standard

URI = "urn:test:scripted"
NODE = {"point": "a", "namespace": URI, "identifier": "s=A", "unit": "MW"}
Answer = Callable[["Talk", Request], Any]
"""Of one service: a response of the library's, or None when it has said or done all itself."""


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.channel = Channel(reader, writer, lambda *_: None, None)
        self.published = 0

    async def run(self, answers: Mapping[str, Answer]) -> None:
        async for asked in self.channel.requests():
            answer = answers.get(asked.service) or DECENT.get(asked.service)
            if answer is None:
                self.channel.refuse(asked, StatusCodes.BadServiceUnsupported)
            elif (response := answer(self, asked)) is not None:
                self.channel.respond(asked, response)
            await self.writer.drain()

    def say(self, number: int, body: bytes) -> None:
        """A whole answer to request ``number``."""
        self.channel._send(number, body)

    def parts(self, asked: Request, body: bytes, count: int) -> None:
        """So many chunks of a message that does not end; the channel then knows no more numbers."""
        for number in range(2, count + 2):
            self.writer.write(chunk(asked.number, body, number))


class Scripted:
    """The server in a thread of its own. ``answers``: by service, what is said instead of something decent; ``hello``:
    all that it says at all."""

    def __init__(self, answers: Mapping[str, Answer], hello: bytes = b"") -> None:
        self._answers, self._hello = answers, hello
        self.came = 0
        """How many connections there were."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self.url = f"opc.tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/scripted"
        return self

    def __exit__(self, *_exc: object) -> None:
        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        with suppress(OSError):
            if self._hello:
                await reader.read(1000)
                writer.write(self._hello)
                await reader.read()
            else:
                await Talk(reader, writer).run(self._answers)
        writer.close()


def settings(url: str, **fields: Any) -> OpcUaServer:
    """The settings of a server with one node."""
    quick = {"publishing_interval": 0.05, "keep_alive": 5, "backoff_ceiling": 0.5, "timeout": 10}
    return OpcUaServer.model_validate({"name": "d", "url": url, "nodes": [NODE], **quick, **fields})


def asked(act: Callable[[Client], Awaitable[Any]], answers: Mapping[str, Answer], hello: bytes = b"") -> Any:
    """What ``act`` gets within ten seconds of a session with a server that answers so."""

    async def session(url: str) -> Any:
        client = await client_for(settings(url), None)
        try:
            await client.connect()
            async with asyncio.timeout(10):
                return await act(client)
        finally:
            client.disconnect_socket()

    with Scripted(answers, hello) as server:
        return asyncio.run(session(server.url))


def head(kind: bytes, size: int, mark: bytes = b"F") -> bytes:
    """Of a chunk: how large it claims to be."""
    return struct.pack("<3scI", kind, mark, size)


def chunk(number: int, body: bytes, sequence: int) -> bytes:
    """A chunk of the answer to request ``number``, of which more will follow."""
    data = struct.pack("<IIII", 1, 1, sequence, number) + body
    return head(b"MSG", 8 + len(data), b"C") + data


def _session(_talk: Talk, _asked: Request) -> ua.CreateSessionResponse:
    anonymous = ua.UserTokenPolicy(PolicyId="anonymous", TokenType=ua.UserTokenType.Anonymous)
    endpoint = ua.EndpointDescription(
        EndpointUrl="opc.tcp://scripted",
        SecurityMode=ua.MessageSecurityMode.None_,
        SecurityPolicyUri=SecurityPolicyNone.URI,
        UserIdentityTokens=[anonymous],
    )
    result = ua.CreateSessionResult(
        SessionId=ua.NodeId(1, 1),
        AuthenticationToken=ua.NodeId(2, 1),
        RevisedSessionTimeout=3_600_000,
        ServerEndpoints=[endpoint],
    )
    return ua.CreateSessionResponse(Parameters=result)


def _read(_talk: Talk, asked: Request) -> ua.ReadResponse:
    known = {
        standard(ObjectIds.Server_NamespaceArray): ua.Variant(["http://opcfoundation.org/UA/", URI]),
        standard(ObjectIds.Server_ServerStatus_State): ua.Variant(0, ua.VariantType.Int32),
    }
    unknown = ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(StatusCodes.BadNodeIdUnknown)))
    nodes = [one.NodeId for one in asked.decoded().NodesToRead]
    return ua.ReadResponse(Results=[ua.DataValue(known[node]) if node in known else unknown for node in nodes])


def _subscription(_talk: Talk, asked: Request) -> ua.CreateSubscriptionResponse:
    wanted = asked.decoded()
    result = ua.CreateSubscriptionResult(
        SubscriptionId=1,
        RevisedPublishingInterval=wanted.RequestedPublishingInterval,
        RevisedLifetimeCount=wanted.RequestedLifetimeCount,
        RevisedMaxKeepAliveCount=wanted.RequestedMaxKeepAliveCount,
    )
    return ua.CreateSubscriptionResponse(Parameters=result)


def _items(_talk: Talk, asked: Request) -> ua.CreateMonitoredItemsResponse:
    return ua.CreateMonitoredItemsResponse(
        Results=[
            ua.MonitoredItemCreateResult(MonitoredItemId=number, RevisedQueueSize=one.RequestedParameters.QueueSize)
            for number, one in enumerate(asked.decoded().ItemsToCreate, 1)
        ]
    )


def _publish(talk: Talk, _asked: Request) -> ua.PublishResponse | None:
    """One value, and silence then."""
    talk.published += 1
    return None if talk.published > 1 else changed([(1, 1.5)], talk.published)


def changed(values: list[tuple[int, float]], sequence: int) -> ua.PublishResponse:
    """A notification: values by the handle of their item."""
    now = datetime.now(UTC)
    items = [
        ua.MonitoredItemNotification(handle, ua.DataValue(ua.Variant(value), SourceTimestamp=now))
        for handle, value in values
    ]
    message = ua.NotificationMessage(sequence, now, [ua.DataChangeNotification(items)])
    return ua.PublishResponse(Parameters=ua.PublishResult(SubscriptionId=1, NotificationMessage=message))


DECENT: dict[str, Answer] = {
    "CreateSession": _session,
    "ActivateSession": lambda *_: ua.ActivateSessionResponse(),
    "CloseSession": lambda *_: ua.CloseSessionResponse(),
    "Read": _read,
    "CreateSubscription": _subscription,
    "CreateMonitoredItems": _items,
    "Publish": _publish,
}
