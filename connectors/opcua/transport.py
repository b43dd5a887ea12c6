"""The library's connection to a server, with bounds on what is kept of a message that is still coming.

The library tells a server to send whatever it likes, waits for chunks of up to 4 GiB and for any number of them, and
closes without a word why. Messages and their limits: OPC 10000-6, sections 6.7.2 and 7.1.2.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Any

from asyncua import ua
from asyncua.client import ua_client
from asyncua.client.client import Client
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer, wait_for
from asyncua.crypto.security_policies import SecurityPolicy
from asyncua.ua.ua_binary import uatcp_to_binary
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from connectors.opcua.bounds import CutOff, unreadable

LARGEST_CHUNK = 65_535
LARGEST_MESSAGE = 64 * 1024 * 1024
_SMALLEST_CHUNK = 12  # its header
_SMALLEST_BUFFER = 1024  # that a server may have for our chunks; most have 8192 and more
_MOST_CHUNKS = LARGEST_MESSAGE // _SMALLEST_BUFFER
_SHORTEST_LIFETIME = 1000  # of a channel, in milliseconds
_HEAD = struct.Struct("<3scI")
_HELLO: Any = ua.MessageType.Hello  # the library's own type for it is another
_KINDS = (
    ua.MessageType.Acknowledge,
    ua.MessageType.Error,
    ua.MessageType.SecureOpen,
    ua.MessageType.SecureMessage,
    ua.MessageType.SecureClose,
)


def install() -> None:
    """Have every client of the library connect this way from now on."""
    ua_client.UASocketProtocol = _Protocol  # type: ignore[assignment, misc]


def why_cut_off(client: Client) -> str:
    """Why this side has ended the connection of ``client``; empty when it has not."""
    refused = getattr(client.uaclient.protocol, "refused", None)
    return str(refused) if isinstance(refused, CutOff) else ""


def received(client: Client) -> int:
    """How many bytes came over the present connection of ``client``."""
    return int(getattr(client.uaclient.protocol, "received", 0))


class _Limits(TransportLimits):
    """Ours, which stay: the library would take the server's instead, and no limit at all where it names none."""

    def is_msg_size_within_limit(self, sz: int) -> bool:
        if sz > LARGEST_MESSAGE:
            raise CutOff(f"it sent a message of {sz} bytes and more; at most {LARGEST_MESSAGE} are taken")
        return True

    def is_chunk_count_within_limit(self, sz: int) -> bool:
        if sz > _MOST_CHUNKS:
            raise CutOff(f"it sent a message of {sz} chunks and more; at most {_MOST_CHUNKS} are taken")
        return True

    def update_client_limits(self, msg: ua.Acknowledge) -> None:
        if msg.ReceiveBufferSize < _SMALLEST_BUFFER:
            raise CutOff(f"it takes chunks of {msg.ReceiveBufferSize} bytes; at least {_SMALLEST_BUFFER} are needed")
        self.max_send_buffer = min(msg.ReceiveBufferSize, LARGEST_CHUNK)


class _Protocol(UASocketProtocol):
    """``refused``: what made this side end the connection, or what error the server ended it with; ``received``: how
    many bytes came."""

    def __init__(self, timeout: float, security_policy: SecurityPolicy) -> None:
        super().__init__(timeout, security_policy, _Limits(LARGEST_CHUNK, LARGEST_CHUNK))
        self.refused: UaError | None = None
        self.received = 0
        self._came = bytearray()
        self._reading = False

    async def send_hello(self, url: str, *_limits: int) -> ua.Acknowledge:
        """Greet the server with our limits; the library has no word for the size of a chunk."""
        hello = ua.Hello(
            ReceiveBufferSize=ua.UInt32(LARGEST_CHUNK),
            SendBufferSize=ua.UInt32(LARGEST_CHUNK),
            MaxMessageSize=ua.UInt32(LARGEST_MESSAGE),
            MaxChunkCount=ua.UInt32(_MOST_CHUNKS),
            EndpointUrl=ua.String(url),
        )
        if self.refused is not None or self.transport is None:
            raise self.refused or ConnectionError("the connection is lost")
        self._callbackmap[0] = answer = asyncio.get_running_loop().create_future()
        self.transport.write(uatcp_to_binary(_HELLO, hello))
        acknowledged: ua.Acknowledge = await wait_for(answer, self.timeout)
        return acknowledged

    async def open_secure_channel(self, params: ua.OpenSecureChannelParameters) -> ua.OpenSecureChannelResult:
        """Open or renew the channel: the library renews one that lasts no time in a tight loop."""
        opened = await super().open_secure_channel(params)
        if (lasts := opened.SecurityToken.RevisedLifetime) < _SHORTEST_LIFETIME:
            raise CutOff(f"it opened a channel for {lasts} ms; at least {_SHORTEST_LIFETIME} are needed")
        return opened

    def _send_request(self, *request: Any, **more: Any) -> asyncio.Future[Any]:
        if self.refused is not None:
            raise self.refused
        return super()._send_request(*request, **more)

    def data_received(self, data: bytes) -> None:
        """Hand whole chunks to the library, which then keeps no bytes but those of chunks that were read."""
        self.received += len(data)
        self._came += data
        self._reading = True
        try:
            while self.refused is None and (chunk := self._next()) is not None:
                self._process_received_data(chunk)
        except CutOff:
            self.disconnect_socket()
        finally:
            self._reading = False

    def _next(self) -> bytes | None:
        if len(self._came) < _HEAD.size:
            return None
        kind, _, size = _HEAD.unpack_from(self._came)
        if kind not in _KINDS:
            raise CutOff(f"no message of OPC UA begins with {kind!r}")
        if not _SMALLEST_CHUNK <= size <= LARGEST_CHUNK:
            raise CutOff(f"it sent a chunk of {size} bytes; at most {LARGEST_CHUNK} are taken")
        if len(self._came) < size:
            return None
        chunk = bytes(self._came[:size])
        del self._came[:size]
        return chunk

    def _call_callback(self, request_id: int, body: Buffer | ua.Acknowledge) -> None:
        if request_id not in self._callbackmap:
            raise CutOff(f"it sent an answer to request {request_id}, which is not open")
        super()._call_callback(request_id, body)

    def disconnect_socket(self) -> None:
        """End the connection. A server that reads no more is not waited for."""
        if self._reading and self.refused is None and (error := sys.exception()) is not None:
            # The library calls this where it caught what it could not take, and keeps that to itself.
            self.refused = error if isinstance(error, CutOff | UaStatusCodeError) else unreadable(error)
        if self.transport is not None and (self.refused is not None or self.transport.get_write_buffer_size()):
            self.transport.abort()
        else:
            super().disconnect_socket()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those that wait for an answer why none will come."""
        super().connection_lost(self.refused or exc)
