"""The framings, held to pymodbus' own framers, in pieces of any size, and with bytes that are no frame."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from connectors.modbus.frames import Frame, Garbled, decoder, encode
from connectors.modbus.line import Framing

ORACLES = {Framing.TCP: FramerSocket, Framing.RTU: FramerRTU, Framing.ASCII: FramerAscii}
FRAMINGS = st.sampled_from(sorted(ORACLES))
UNITS = st.integers(1, 247)


@st.composite
def answers(draw) -> bytes:
    """What a device may answer to what is asked: data, an echo of a write, a refusal."""
    kind = draw(st.sampled_from(["data", "echo", "refusal"]))
    if kind == "refusal":
        return bytes([draw(st.sampled_from([0x81, 0x82, 0x83, 0x84, 0x90])), draw(st.integers(1, 11))])
    if kind == "echo":
        function = draw(st.sampled_from([5, 6, 15, 16, 22]))
        size = 6 if function == 22 else 4
        return bytes([function]) + draw(st.binary(min_size=size, max_size=size))
    data = draw(st.binary(min_size=1, max_size=250))
    return bytes([draw(st.sampled_from([1, 2, 3, 4])), len(data)]) + data


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[first:last] for first, last in pairwise(edges)]


@given(framing=FRAMINGS, unit=UNITS, transaction=st.integers(1, 0xFFFF), pdu=answers())
def test_encode_when_any_message_is_given_is_the_library_s_frame(framing, unit, transaction, pdu):
    assert encode(framing, unit, transaction, pdu) == ORACLES[framing](DecodePDU(False)).encode(pdu, unit, transaction)


@given(
    framing=FRAMINGS,
    sent=st.lists(st.tuples(UNITS, st.integers(1, 0xFFFF), answers()), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_decoder_when_frames_come_in_any_pieces_finds_each_of_them_whole(framing, sent, cuts):
    stream = b"".join(encode(framing, *one) for one in sent)
    found: list[Frame] = []
    reader = decoder(framing)
    for piece in in_pieces(stream, cuts):
        found += reader.feed(piece)
    expected = [Frame(unit, number if framing is Framing.TCP else None, pdu) for unit, number, pdu in sent]
    assert found == expected


@settings(max_examples=300)
@given(framing=FRAMINGS, pieces=st.lists(st.binary(max_size=600), max_size=6))
def test_decoder_when_anything_comes_gives_frames_or_says_that_it_is_none(framing, pieces):
    reader = decoder(framing)
    try:
        found = [frame for piece in pieces for frame in reader.feed(piece)]
    except Garbled:
        return
    assert sum(len(frame.pdu) for frame in found) <= sum(map(len, pieces))


@given(unit=UNITS, pdu=answers(), at=st.integers(0, 600), flipped=st.integers(0, 7))
def test_decoder_when_one_bit_of_a_serial_frame_is_flipped_takes_nothing_else_for_it(unit, pdu, at, flipped):
    for framing in (Framing.RTU, Framing.ASCII):
        frame = bytearray(encode(framing, unit, 0, pdu))
        frame[at % len(frame)] ^= 1 << flipped
        try:
            found = decoder(framing).feed(bytes(frame))
        except Garbled:
            continue
        # A letter's case carries nothing; otherwise the frame only waits for more.
        assert found in ([], [Frame(unit, None, pdu)])


@pytest.mark.parametrize(
    ("framing", "data", "said"),
    [
        (Framing.TCP, b"HTTP/1.1 400 Bad", "a header with protocol"),
        (Framing.TCP, bytes.fromhex("0001 0000 ffff 01"), "length 65535"),
        (Framing.TCP, bytes.fromhex("0001 0000 0001 01"), "length 1"),
        (Framing.RTU, bytes.fromhex("01 2b 0e"), "function 43"),
        (Framing.RTU, bytes.fromhex("01 83 02 00 00"), "wrong checksum"),
        (Framing.ASCII, b"\xff:01", "where a colon begins"),
        (Framing.ASCII, b":01zz\r\n", "not hexadecimal"),
        (Framing.ASCII, b":" + b"0" * 600, "without an end"),
        (Framing.ASCII, b":0103021234FF\r\n", "wrong checksum"),
    ],
)
def test_decoder_when_it_is_no_frame_says_why(framing, data, said):
    with pytest.raises(Garbled, match=said):
        decoder(framing).feed(data)
