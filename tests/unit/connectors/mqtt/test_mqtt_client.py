"""Our client beside paho's own: whatever way the bytes come in, both hand over the same messages."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import paho.mqtt.client as paho
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.mqtt.client import Client

LIMIT = 4096
Seen = tuple[Any, ...]


def plain(protocol: int) -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, "c", protocol=protocol, manual_ack=True)


def ours(protocol: int) -> Client:
    return Client(
        CallbackAPIVersion.VERSION2,
        "c",
        protocol=protocol,
        manual_ack=True,
        limit=LIMIT,
        refused=lambda _: None,
    )


def handed_over(client: paho.Client, pieces: list[bytes]) -> list[Seen]:
    """What the client makes of the pieces, each of which has arrived before it looks."""
    seen: list[Seen] = []

    def take(_client: Any, _data: Any, one: paho.MQTTMessage) -> None:
        properties = one.properties.json() if one.properties else {}
        seen.append((one._topic, one.payload, one.mid, one.qos, one.dup, one.retain, properties))

    client.on_message = take
    near, far = socket.socketpair()
    near.setblocking(False)
    client._sock = near
    with near, far:
        for piece in pieces:
            far.sendall(piece)
            for _ in range(100):
                before = len(seen)
                if client.loop_read(3) != paho.MQTT_ERR_SUCCESS:
                    return [*seen, "ended"]
                if len(seen) == before and not getattr(client, "buffered", False):
                    break
        client._sock = None
    return seen


@st.composite
def packets(draw: st.DrawFn, protocol: int) -> bytes:
    """A PUBLISH as a broker may send it (MQTT 5.0 and 3.1.1, section 3.3)."""
    qos, topic = draw(st.integers(0, 1)), draw(st.binary(min_size=1, max_size=20))
    head = 0x30 | qos << 1 | draw(st.sampled_from([0, 1, 8, 9]))
    body = len(topic).to_bytes(2) + topic + (draw(st.integers(1, 65_535)).to_bytes(2) if qos else b"")
    if protocol == paho.MQTTv5:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if draw(st.booleans()):
            properties.ContentType = "text"
            properties.UserProperty = ("site", "north")
        body += properties.pack()  # type: ignore[no-untyped-call]
    body += draw(st.binary(max_size=300))
    length, left = b"", len(body)
    while left or not length:
        left, low = left >> 7, left & 127
        length += bytes([low | (128 if left else 0)])
    return bytes([head]) + length + body


@given(st.data(), st.sampled_from([paho.MQTTv311, paho.MQTTv5]))
def test_client_when_messages_come_in_any_pieces_hands_over_what_paho_would(data: st.DataObject, protocol: int) -> None:
    stream = b"".join(data.draw(st.lists(packets(protocol), min_size=1, max_size=6)))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert handed_over(ours(protocol), pieces) == handed_over(plain(protocol), [stream])


@given(st.binary(max_size=60), st.sampled_from([paho.MQTTv311, paho.MQTTv5]))
def test_client_when_a_publish_is_malformed_does_what_paho_would(body: bytes, protocol: int) -> None:
    stream = bytes([0x32, len(body)]) + body

    assert handed_over(ours(protocol), [stream]) == handed_over(plain(protocol), [stream])


def test_client_when_many_are_acknowledged_writes_them_once_and_in_order() -> None:
    client = ours(paho.MQTTv5)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        near.setblocking(False)
        client._sock = near
        client.acknowledge([7, 65_535, 1])

        assert far.recv(100) == bytes.fromhex("40020007 4002ffff 40020001")
        client.acknowledge([])
        far.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"something was written for nothing: {far.recv(100)!r}")
        client._sock = None


def test_client_when_many_messages_come_at_once_hands_over_no_more_than_asked_and_none_once_halted() -> None:
    client = ours(paho.MQTTv5)
    seen: list[int] = []
    client.on_message = lambda _client, _data, message: seen.append(message.mid)
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        client._sock = near
        far.sendall(b"".join(bytes([0x32, 6]) + b"\0\1t" + mid.to_bytes(2) + b"\0" for mid in range(1, 8)))

        client.loop_read(3)
        assert (seen, client.buffered) == ([1, 2, 3], True)

        def halt(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
            seen.append(message.mid)
            client.halted = True

        client.on_message = halt
        client.loop_read(3)
        assert seen == [1, 2, 3, 4]
        client._sock = None
