"""What a hostile server sends before its message is whole: cut off at once, with the reason, by real bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from connectors.capture.opcua.messages import Request
from connectors.opcua import transport
from connectors.opcua.bounds import CutOff
from connectors.opcua.security import client_for
from connectors.opcua.transport import LARGEST_CHUNK, LARGEST_MESSAGE
from tests.unit.connectors.opcua.scripted import Talk, asked, head, settings

MORE = bytes(4000)


def acknowledge(size: int) -> bytes:
    return uatcp_to_binary(ua.MessageType.Acknowledge, ua.Acknowledge(ReceiveBufferSize=size, SendBufferSize=size))


async def nothing(_client: Client) -> None:
    """It is enough that there is a session."""


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "no message of OPC UA begins with b'HTT'"),
        (head(b"ACK", 2**32 - 1) + MORE, "a chunk of 4294967295 bytes; at most 65535 are taken"),
        (head(b"OPN", LARGEST_CHUNK + 1) + MORE, "a chunk of 65536 bytes"),
        (head(b"MSG", 11) + MORE, "a chunk of 11 bytes"),
        (acknowledge(100), "it takes chunks of 100 bytes; at least 1024 are needed"),
        (acknowledge(8192) + acknowledge(8192), "an answer to request 0, which is not open"),
        (head(b"ACK", 12) + bytes(4), "what cannot be read as Acknowledge: Not enough data"),
        (head(b"MSG", 20) + bytes(12), "what cannot be read"),
    ],
)
def test_transport_when_the_first_bytes_are_hostile_ends_the_connection_and_says_which(first: bytes, why: str) -> None:
    with pytest.raises(CutOff, match=why):
        asked(nothing, {}, first)


def endless(body: bytes, count: int) -> Callable[[Talk, Request], None]:
    return lambda talk, asked: talk.parts(asked, body, count)


@pytest.mark.parametrize(
    ("body", "count", "why"),
    [
        (bytes(60_000), LARGEST_MESSAGE // 60_000 + 1, "a message of .* bytes and more; at most 67108864 are taken"),
        (b"", 2000, "a message of 1025 chunks and more; at most 1024 are taken"),
    ],
)
def test_transport_when_a_message_has_no_end_takes_no_more_than_a_message(monkeypatch, body, count, why) -> None:
    if not body:
        monkeypatch.setattr(transport, "_MOST_CHUNKS", 1024)
    with pytest.raises(CutOff, match=why):
        asked(nothing, {"CreateSession": endless(body, count)})


def test_transport_when_an_answer_was_not_asked_for_ends_the_connection() -> None:
    def unasked(talk: Talk, asked: Request) -> None:
        talk.say(asked.number + 1, struct_to_binary(ua.PublishResponse()))

    with pytest.raises(CutOff, match="an answer to request 3, which is not"):
        asked(nothing, {"CreateSession": unasked})


def test_transport_when_a_channel_lasts_no_time_does_not_renew_it_again_and_again() -> None:
    async def renew(client: Client) -> None:
        client.secure_channel_timeout = 100  # the server gives what it is asked for
        await client.open_secure_channel(renew=True)

    with pytest.raises(CutOff, match="a channel for 100 ms; at least 1000 are needed"):
        asked(renew, {})


def test_transport_when_the_server_reads_nothing_is_rid_of_it_at_once() -> None:
    async def act(port: int) -> None:
        client = await client_for(settings(f"opc.tcp://127.0.0.1:{port}"), None)
        await client.connect_socket()
        protocol = client.uaclient.protocol
        assert protocol is not None
        protocol.transport.write(bytes(32 * 1024 * 1024))
        assert protocol.transport.get_write_buffer_size() > 0, "more than the machine takes"
        client.disconnect_socket()
        async with asyncio.timeout(5):
            while not protocol.is_closed:  # noqa: ASYNC110 - the library has no event for it
                await asyncio.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        asyncio.run(act(deaf.getsockname()[1]))
