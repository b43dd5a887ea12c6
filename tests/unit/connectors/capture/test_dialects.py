"""What is compared of what connectors say, and what is made anew."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from connectors.capture.dialects import FIX, SPARKPLUG, SPARKPLUG_WEB, WEB, Dialect
from connectors.market.fix.codec import encode, time_text
from connectors.sparkplug.payload import rebirth_request

AT = 1_795_168_800_000_000
payloads = st.lists(st.binary(max_size=300), min_size=1, max_size=6)


def cut(dialect: Dialect, said: bytes) -> list[bytes]:
    return list(dialect.messages(said))


def grows(dialect: Dialect, messages: list[bytes]) -> None:
    """However much has come, the whole messages are those that were sent."""
    said = b"".join(messages)
    assert cut(dialect, said) == messages
    for length in range(0, len(said), max(1, len(said) // 40)):
        assert cut(dialect, said[:length]) == [
            one for n, one in enumerate(messages) if sum(map(len, messages[: n + 1])) <= length
        ]


def masked(payload: bytes, mask: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """A frame as the library makes it, but for the mask."""
    plain = Frame(opcode, payload).serialize(mask=False)
    head = len(plain) - len(payload)
    hidden = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return plain[:1] + bytes([plain[1] | 128]) + plain[2:head] + mask + hidden


@given(payloads, st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
def test_web_when_masks_differ_frames_mean_the_same_and_are_cut_where_they_end(texts, mask, other):
    frames = [masked(text, mask) for text in texts]
    grows(WEB, frames)
    assert [WEB.meant(one) for one in frames] == [b"\x81" + text for text in texts]
    assert [WEB.meant(masked(text, other)) for text in texts] == [WEB.meant(one) for one in frames]


def test_web_when_frames_are_long_or_come_by_the_clock_they_are_cut_and_left_out():
    long = [masked(b"x" * size, b"abcd") for size in (125, 126, 65_535, 65_536)]
    assert cut(WEB, b"".join(long)) == long
    timed = [masked(b"", b"abcd", opcode) for opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE)]
    assert [WEB.meant(one) for one in timed] == [None, None, None]
    assert WEB.meant(long[0]) != WEB.meant(masked(b"y" * 125, b"abcd"))


def handshake(port: int) -> tuple[ClientProtocol, bytes]:
    client = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/feed?a=1"))
    client.send_request(client.connect())
    return client, b"".join(client.data_to_send())


def test_web_when_the_handshake_is_played_the_answer_fits_the_new_key():
    (_, then), (client, now) = handshake(4001), handshake(4002)
    assert then != now
    assert WEB.meant(then) == WEB.meant(now)
    assert WEB.meant(then) != WEB.meant(now.replace(b"a=1", b"a=2"))
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    data = Frame(Opcode.TEXT, b"hello sec-websocket-accept: x").serialize(mask=False)
    client.receive_data(WEB.answered(answer + data, now))
    response, frame = client.events_received()
    assert isinstance(response, Response)
    assert client.handshake_exc is None
    assert frame.data == b"hello sec-websocket-accept: x"
    assert WEB.answered(b"HTTP/1.1 200 OK\r\n\r\n", now) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_web_when_passed_on_the_venue_is_called_by_its_name():
    _, said = handshake(4001)
    assert b"\r\nHost: venue.example:443\r\n" in WEB.passed(said, "venue.example:443")
    assert WEB.passed(b"\x81\x80abcd", "venue.example:443") == b"\x81\x80abcd"


def fix(kind: str, sequence: int, at: int, *fields: tuple[int, str]) -> bytes:
    return encode([(35, kind), (49, "US"), (56, "THEM"), (34, sequence), (52, time_text(at)), *fields])


@given(st.integers(0, 10**12), st.integers(1, 10**6))
def test_fix_when_times_and_numbers_differ_means_the_same(later, sequence):
    then, now = fix("V", 2, AT, (262, "NG-1")), fix("V", sequence, AT + later, (262, "NG-1"))
    grows(FIX, [then, now])
    assert FIX.meant(then) == FIX.meant(now)
    assert FIX.meant(then) != FIX.meant(fix("V", 2, AT, (262, "NG-2")))


@pytest.mark.parametrize("kind", ["0", "1"])
def test_fix_when_it_comes_by_the_clock_is_left_out(kind):
    assert FIX.meant(fix(kind, 2, AT)) is None


def mqtt(kind: int, rest: bytes) -> bytes:
    length, size = len(rest), b""
    while True:
        length, seven = length >> 7, length & 127
        size += bytes([seven | (128 if length else 0)])
        if not length:
            return bytes([kind]) + size + rest


def command(at: int, *, five: bool) -> bytes:
    topic = b"spBv1.0/g/NCMD/n"
    return mqtt(0x30, len(topic).to_bytes(2, "big") + topic + (b"\0" if five else b"") + rebirth_request(at))


@pytest.mark.parametrize("five", [False, True])
def test_sparkplug_when_our_times_differ_commands_and_states_mean_the_same(five):
    then, now = command(AT // 1000, five=five), command(AT // 1000 + 77, five=five)
    assert then != now
    assert SPARKPLUG.meant(then) == SPARKPLUG.meant(now)
    assert SPARKPLUG.meant(then) != SPARKPLUG.meant(then.replace(b"Rebirth", b"Reboot!"))
    told = [mqtt(0x33, json.dumps({"online": True, "timestamp": at}, separators=(",", ":")).encode()) for at in (1, 2)]
    assert SPARKPLUG.meant(told[0]) == SPARKPLUG.meant(told[1])
    assert SPARKPLUG.meant(told[0]) != SPARKPLUG.meant(told[0].replace(b"true", b"null"))


def test_sparkplug_when_it_is_carried_by_websocket_means_what_it_means_without():
    then, now = (masked(command(at, five=True), key, Opcode.BINARY) for at, key in ((1, b"abcd"), (9, b"wxyz")))
    assert SPARKPLUG_WEB.meant(then) == SPARKPLUG_WEB.meant(now) == b"\x82" + SPARKPLUG.meant(command(1, five=True))
    other = masked(command(1, five=True).replace(b"Rebirth", b"Reboot!"), b"abcd", Opcode.BINARY)
    assert SPARKPLUG_WEB.meant(then) != SPARKPLUG_WEB.meant(other)
    assert SPARKPLUG_WEB.meant(masked(b"", b"abcd", Opcode.PONG)) is None
    _, asked = handshake(4001)
    assert SPARKPLUG_WEB.meant(asked) == WEB.meant(asked)


@given(payloads)
def test_sparkplug_when_packets_follow_each_other_they_are_cut_where_they_end(rests):
    grows(SPARKPLUG, [mqtt(0x40, rest * 60) for rest in rests])
