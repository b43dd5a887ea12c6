"""The served side of a secure channel without security, for connectors on this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from connectors.capture.frames import Direction
from connectors.capture.opcua.messages import (
    Joiner,
    Malformed,
    Message,
    Request,
    Splitter,
    answering,
    decoded,
    request,
)
from connectors.opcua.transport import LARGEST_CHUNK

Note = Callable[[Direction, bytes], None]
_CHANNEL = 1
_ACKNOWLEDGE: Any = ua.MessageType.Acknowledge  # the library's own type for it is another


class Channel:
    """One connection of a connector: greeted, its channel opened and renewed here, its requests handed on.

    ``note`` is told every byte that comes and goes, before it goes. ``path``: whom the connector must ask for.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Note, path: str | None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._note = note
        self._path = path
        self._joiner = Joiner()
        self._greeted = False

    @classmethod
    async def over(cls, client: socket.socket, note: Note = lambda *_: None, path: str | None = None) -> Channel:
        """The channel of a connection that was accepted; it closes ``client``."""
        client.setblocking(False)
        return cls(*await asyncio.open_connection(sock=client), note, path)

    async def requests(self) -> AsyncIterator[Request]:
        """What the connector asks, until it closes. Raises OSError when that breaks, Malformed."""
        splitter = Splitter()
        while data := await self._reader.read(LARGEST_CHUNK):
            self._note(Direction.SENT, data)
            for message in splitter.feed(data):
                if message.kind == ua.MessageType.Hello:
                    self._greet(message)
                elif not self._greeted:
                    raise Malformed("no Hello came first")
                elif message.kind == ua.MessageType.SecureMessage:
                    yield request(message)
                elif message.kind == ua.MessageType.SecureOpen:
                    self._open(message)
                else:
                    return

    def answer(self, asked: Request, body: bytes) -> None:
        """Answer with the response in ``body``, made to fit the request. Raises Malformed."""
        self._send(asked.number, answering(body, asked.handle))

    def respond(self, asked: Request, response: Any) -> None:
        """Answer with a response of the library's."""
        response.ResponseHeader.RequestHandle = asked.handle
        self._send(asked.number, struct_to_binary(response))

    def refuse(self, asked: Request, code: int) -> None:
        """Answer that the request has failed."""
        header = ua.ResponseHeader(ServiceResult=ua.StatusCode(ua.UInt32(code)))
        self.respond(asked, ua.ServiceFault(ResponseHeader=header))

    def close(self) -> None:
        """End the connection; what was written is sent before."""
        self._writer.close()

    def _greet(self, message: Message) -> None:
        asked = urlsplit(decoded("Hello", message.body).EndpointUrl or "").path
        if self._path is not None and asked != self._path:
            raise Malformed("somebody else than the connector")
        most = ua.UInt32(LARGEST_CHUNK)
        self._write(uatcp_to_binary(_ACKNOWLEDGE, ua.Acknowledge(ReceiveBufferSize=most, SendBufferSize=most)))
        self._greeted = True

    def _open(self, message: Message) -> None:
        asked = request(message)
        wanted = asked.decoded()
        self._joiner.channel = _CHANNEL
        self._joiner.token += 1
        token = ua.ChannelSecurityToken(_CHANNEL, self._joiner.token, datetime.now(UTC), wanted.RequestedLifetime)
        response = ua.OpenSecureChannelResponse(Parameters=ua.OpenSecureChannelResult(SecurityToken=token))
        response.ResponseHeader.RequestHandle = asked.handle
        self._write(self._joiner.join(ua.MessageType.SecureOpen, message.number, struct_to_binary(response)))

    def _send(self, number: int, body: bytes) -> None:
        self._write(self._joiner.join(ua.MessageType.SecureMessage, number, body))

    def _write(self, data: bytes) -> None:
        self._note(Direction.RECEIVED, data)
        self._writer.write(data)
