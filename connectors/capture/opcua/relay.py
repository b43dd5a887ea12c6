"""Between an OPC UA connector and its server, while it is recorded.

To the server this is the connector: same security, same login, same checks of the certificate. The connector speaks to
it without any, so that what is recorded is what is within the channel, and no password. All that a session is opened
with is said anew; every other request and response is passed on as it is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from connectors.capture.frames import Direction
from connectors.capture.opcua.channel import Channel, Note
from connectors.capture.opcua.messages import Malformed, Request
from connectors.opcua.certificates import Certificates, certificates_of
from connectors.opcua.config import OpcUaServer
from connectors.opcua.connector import explained
from connectors.opcua.security import client_for

_RENEWED_AFTER = 0.75  # OPC 10000-4, section 5.5.2: of the lifetime of a channel's token
_LEAVE_SECONDS = 1.0


Opened = Callable[[], Note]
Problem = Callable[[str], None]


def pass_on(client: socket.socket, server: OpcUaServer, path: str, opened: Opened, problem: Problem) -> None:
    """Serve one connection of the connector, which asks for ``path``, until it or the server ends it.

    ``opened`` is called when the server is connected, and says where the bytes are noted; ``problem`` is told why there
    is no connection or no session.
    """
    asyncio.run(_pass_on(client, server, path, opened, problem))


async def _pass_on(client: socket.socket, server: OpcUaServer, path: str, opened: Opened, problem: Problem) -> None:
    certificates = certificates_of(server)
    try:
        upstream = await client_for(server, certificates)
        await upstream.connect_sessionless()
    except (UaError, OSError, TimeoutError, ValueError) as error:
        problem(explained(server, error, certificates))
        return
    note = opened()
    try:
        channel = await Channel.over(client, note, path)
        await _Relay(server, upstream, channel, certificates, problem).run()
    finally:
        note(Direction.CLOSED, b"")
        with suppress(UaError, OSError, TimeoutError):
            await asyncio.wait_for(upstream.disconnect_sessionless(), _LEAVE_SECONDS)


class _Relay:
    def __init__(
        self,
        server: OpcUaServer,
        upstream: Client,
        channel: Channel,
        certificates: Certificates | None,
        problem: Problem,
    ) -> None:
        self._server = server
        self._upstream = upstream
        self._channel = channel
        self._certificates = certificates
        self._problem = problem
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        async with self._upstream.uaclient.subscribe_state() as states:
            broken = asyncio.create_task(states.wait_for_state(UaClientState.DISCONNECTED))
            ending = [broken, asyncio.create_task(self._listen()), asyncio.create_task(self._renew())]
            done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        self._channel.close()
        running = [*ending, *self._tasks]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self) -> None:
        with suppress(OSError, Malformed):
            async for asked in self._channel.requests():
                task = asyncio.create_task(self._serve(asked))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _serve(self, asked: Request) -> None:
        try:
            match asked.service:
                case "CreateSession":
                    self._channel.respond(asked, ua.CreateSessionResponse(Parameters=await self._create()))
                case "ActivateSession":
                    self._channel.respond(asked, ua.ActivateSessionResponse(Parameters=await self._activate()))
                case _:
                    self._channel.answer(asked, await self._ask(asked.body))
        except UaStatusCodeError as error:
            self._problem(explained(self._server, error, self._certificates))
            self._channel.refuse(asked, int(error.code))
        except (UaError, OSError, TimeoutError, Malformed):
            self._channel.close()  # the connector says what became of it

    async def _create(self) -> ua.CreateSessionResult:
        """A session of the server, as one that asks for no security and no login."""
        result = await self._upstream.create_session()
        (known, *_) = result.ServerEndpoints
        open_to_all = replace(
            known,
            ServerCertificate=None,
            SecurityMode=ua.MessageSecurityMode.None_,
            SecurityPolicyUri=SecurityPolicyNone.URI,
            UserIdentityTokens=[ua.UserTokenPolicy(PolicyId="anonymous", TokenType=ua.UserTokenType.Anonymous)],
        )
        return replace(
            result, ServerCertificate=None, ServerSignature=ua.SignatureData(), ServerEndpoints=[open_to_all]
        )

    async def _activate(self) -> ua.ActivateSessionResult:
        login = self._server.login
        name, password = (login.username, login.password()) if login is not None else (None, None)
        return await self._upstream.activate_session(name, password, self._upstream.user_certificate)

    async def _ask(self, body: bytes) -> bytes:
        """The server's response to a request that is passed on byte by byte, for which the library has no way."""
        protocol = self._upstream.uaclient.protocol
        if protocol is None or protocol.transport is None:
            raise ConnectionError(f"the connection to {self._server.url} is lost")
        protocol.revolve_security_token()
        protocol._request_id += 1
        answer = asyncio.get_running_loop().create_future()
        protocol._callbackmap[protocol._request_id] = answer
        protocol.transport.write(protocol._connection.message_to_binary(body, request_id=protocol._request_id))
        return bytes(await answer)

    async def _renew(self) -> None:
        with suppress(UaError, OSError, TimeoutError):
            while True:
                await asyncio.sleep(self._upstream.secure_channel_timeout / 1e3 * _RENEWED_AFTER)
                await self._upstream.open_secure_channel(renew=True)
                self._upstream.uaclient.revolve_security_token()
