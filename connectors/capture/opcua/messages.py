"""OPC UA messages over TCP without security: a stream cut into them and made of them (OPC 10000-6, 6.7 and 7.1). Pure.

The library decodes the parts. It cuts streams only within its connections, which check a session's numbers; those of a
recording are past.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from asyncua import ua
from asyncua.common.connection import MessageChunk
from asyncua.common.utils import Buffer
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.object_ids import ObjectIdNames
from asyncua.ua.ua_binary import nodeid_from_binary

from connectors.opcua import bounds
from connectors.opcua.bounds import struct_from_binary
from connectors.opcua.transport import LARGEST_CHUNK, LARGEST_MESSAGE

_HEAD = struct.Struct("<3scI")
_HANDLE = struct.Struct("<I")
_TIME_BYTES = 8
_NAME_ENDS = "_Encoding_DefaultBinary"
_CHANNEL_BYTES = 4
_SECURITY: dict[bytes, Any] = {
    ua.MessageType.SecureOpen: ua.AsymmetricAlgorithmHeader,
    ua.MessageType.SecureMessage: ua.SymmetricAlgorithmHeader,
    ua.MessageType.SecureClose: ua.SymmetricAlgorithmHeader,
}
_ALONE = (ua.MessageType.Hello, ua.MessageType.Acknowledge, ua.MessageType.Error)
_cut: Any = MessageChunk.message_to_chunks  # its types are wrong or missing, as are the next
_unsecured: Any = SecurityPolicyNone
bounds.install()


class Malformed(ValueError):
    """Bytes that are no OPC UA; says what is wrong."""


class Message(NamedTuple):
    """A whole message. ``kind``: HEL, ACK, ERR, OPN, MSG or CLO; ``number``: of its request, 0 of the first three."""

    kind: bytes
    number: int
    body: bytes


class Splitter:
    """Cuts what comes on one connection, in one direction, into messages; holds one of them at most."""

    def __init__(self) -> None:
        self._came = bytearray()
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises Malformed; then the stream cannot be read any further."""
        self._came += data
        found = []
        while len(self._came) >= _HEAD.size:
            kind, place, size = _HEAD.unpack_from(self._came)
            if kind not in _SECURITY and kind not in _ALONE:
                raise Malformed(f"no message of OPC UA begins with {bytes(kind)!r}")
            if not _HEAD.size <= size <= LARGEST_CHUNK:
                raise Malformed(f"a chunk of {size} bytes; {LARGEST_CHUNK} are the most")
            if len(self._came) < size:
                break
            chunk = bytes(self._came[:size])
            del self._came[:size]
            message = Message(kind, 0, chunk[_HEAD.size :]) if kind in _ALONE else self._join(kind, place, chunk)
            if message is not None:
                found.append(message)
        return found

    def _join(self, kind: bytes, place: bytes, chunk: bytes) -> Message | None:
        data = Buffer(chunk, _HEAD.size)
        try:
            data.skip(_CHANNEL_BYTES)
            struct_from_binary(_SECURITY[kind], data)
            number = int(struct_from_binary(ua.SequenceHeader, data).RequestId)
        except bounds.MALFORMED as error:
            raise Malformed(f"a chunk that cannot be read: {error}") from error
        if self._parts and number != self._number:
            raise Malformed(f"a chunk of request {number} within the message of request {self._number}")
        self._number = number
        self._parts.append(bytes(data))
        self._size += len(chunk)  # a message may have any number of empty ones
        if self._size > LARGEST_MESSAGE:
            raise Malformed(f"a message of more than {LARGEST_MESSAGE} bytes")
        if place == ua.ChunkType.Intermediate:
            return None
        whole = b"".join(self._parts)
        self._parts, self._size = [], 0
        if place == ua.ChunkType.Abort:
            return None
        if place != ua.ChunkType.Single:
            raise Malformed(f"a chunk is marked {place!r}; C, F and A are known")
        return Message(kind, number, whole)


class Joiner:
    """Makes chunks of messages, numbered one after the other. ``channel`` and ``token`` stand in each."""

    def __init__(self) -> None:
        self.channel = 0
        self.token = 0
        self._sequence = 0

    def join(self, kind: bytes, number: int, body: bytes) -> bytes:
        """The bytes of one message, OPN, MSG or CLO."""
        said = b""
        for chunk in _cut(_unsecured(), body, LARGEST_CHUNK, kind, self.channel, number, self.token):
            self._sequence += 1
            chunk.SequenceHeader.SequenceNumber = self._sequence
            said += chunk.to_binary()
        return said


class Request(NamedTuple):
    """What a client asks. ``service``: as ``Read``; ``meant``: all but what is new each time, the header and the time
    at which a view is browsed."""

    number: int
    service: str
    handle: int
    body: bytes
    meant: bytes

    def decoded(self) -> Any:
        """What is meant, as the library's record of it. Raises Malformed."""
        return decoded(f"{self.service}Parameters", self.meant)


def request(message: Message) -> Request:
    """The request in ``message``. Raises Malformed."""
    data = Buffer(message.body)
    try:
        kind = nodeid_from_binary(data)
        header = struct_from_binary(ua.RequestHeader, data)
    except bounds.MALFORMED as error:
        raise Malformed(f"a request that cannot be read: {error}") from error
    known = kind.Identifier if kind.NamespaceIndex == 0 else None
    name = ObjectIdNames.get(known, "") if isinstance(known, int) else ""
    service = name.removesuffix(_NAME_ENDS).removesuffix("Request") or str(kind)
    meant = message.body[data.cur_pos :]
    if service == "Browse":
        meant = _without_time(meant)
    return Request(message.number, service, int(header.RequestHandle), message.body, meant)


def _without_time(browse: bytes) -> bytes:
    data = Buffer(browse)
    try:
        nodeid_from_binary(data)
        begin = data.cur_pos
        data.skip(_TIME_BYTES)
    except bounds.MALFORMED as error:
        raise Malformed(f"a request that cannot be read: {error}") from error
    return browse[:begin] + bytes(_TIME_BYTES) + browse[data.cur_pos :]


def decoded(name: str, body: bytes) -> Any:
    """``body`` as the library's record ``name``. Raises Malformed."""
    known: Any = getattr(ua, name, None)
    try:
        if known is not None:
            return struct_from_binary(known, Buffer(body))
    except bounds.MALFORMED as error:
        raise Malformed(f"{name} cannot be read: {error}") from error
    raise Malformed(f"{name} is not known")


def answering(body: bytes, handle: int) -> bytes:
    """The response in ``body`` as one to the request ``handle``; all else stays as it is. Raises Malformed."""
    data = Buffer(body)
    try:
        nodeid_from_binary(data)
        data.skip(_TIME_BYTES)  # when it was made
        begin = data.cur_pos
        data.skip(_HANDLE.size)
    except bounds.MALFORMED as error:
        raise Malformed(f"a response that cannot be read: {error}") from error
    return body[:begin] + _HANDLE.pack(handle) + body[begin + _HANDLE.size :]
