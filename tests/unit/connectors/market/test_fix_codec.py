from __future__ import annotations

import pytest
import simplefix
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.fix.codec import MOST_BYTES, Decoder, Garbled, Message, encode, time_of, time_text

VALUE = st.binary(min_size=1, max_size=20).filter(lambda value: b"\x01" not in value)
FIELDS = st.lists(st.tuples(st.integers(11, 88) | st.integers(5000, 9999), VALUE), max_size=12)
GOOD = encode([(35, "0"), (49, "A"), (56, "B"), (34, 1)])


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def read(data: list[bytes]) -> list[Message | Garbled]:
    decoder = Decoder()
    return [one for piece in data for one in decoder.feed(piece)]


@given(st.lists(FIELDS, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=8))
def test_decoder_when_fed_in_any_pieces_gives_back_what_was_encoded(messages, cuts):
    wanted = [[(35, b"X"), *fields] for fields in messages]
    found = read(chunks(b"".join(encode(one) for one in wanted), cuts))
    assert [list(one.fields) for one in found if isinstance(one, Message)] == wanted
    assert len(found) == len(wanted)


@given(FIELDS)
def test_encode_when_read_by_another_library_says_the_same(fields):
    parser = simplefix.FixParser()
    parser.append_buffer(encode([(35, "X"), *fields]))
    other = parser.get_message()
    assert [(int(tag), value) for tag, value in other.pairs][2:-1] == [(35, b"X"), *fields]


@settings(max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=4))
def test_decoder_when_fed_rubbish_never_fails_and_finds_the_next_message(before, after, cuts):
    found = read(chunks(before + b"\x01" + GOOD + after, cuts))
    assert any(isinstance(one, Message) and one.raw == GOOD for one in found)


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_decoder_when_any_byte_is_changed_lets_nothing_wrong_through(place, change):
    broken = bytearray(GOOD)
    broken[place] ^= change
    found = [one for one in read([bytes(broken), GOOD, GOOD]) if isinstance(one, Message)]
    # a changed length may swallow the message behind, which the session then asks for again
    assert found[-1].raw == GOOD
    assert all(one.raw == GOOD for one in found)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (GOOD[:-4] + b"000\x01", "CheckSum"),
        (b"8=FIX.4.4\x019=4\x01" + GOOD[15:], "BodyLength (9) does not lead"),
        (b"8=FIX.4.4\x019=%d\x01" % (MOST_BYTES + 1), "at most 1048576 is taken"),
        (b"8=FIX.4.4\x019=999999999999\x01", "BodyLength (9) is no number"),
        (b"8=FIX.4.4\x019=abc\x01", "BodyLength (9) is no number"),
        (b"GET / HTTP/1.1\r\n", "bytes between messages"),
        (encode([(58, "no type first")]), "MsgType (35)"),
    ],
)
def test_decoder_when_a_message_is_garbled_says_why_and_goes_on(raw, reason):
    found = read([raw + GOOD])
    assert reason in found[0].reason
    assert found[-1].raw == GOOD


def test_decoder_when_nothing_ends_keeps_no_more_than_one_message():
    decoder = Decoder()
    for _ in range(300):
        for one in decoder.feed(b"8=FIX.4.4\x019=1048576\x01" + b"x" * 60_000):
            assert isinstance(one, Garbled)
        assert len(decoder._buffer) < 2 * MOST_BYTES


def test_decoder_when_data_holds_the_separator_reads_it_whole():
    body = b"35=B\x0195=5\x0196=a\x01=\x01b\x0158=t\x01"
    whole = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    (found,) = read([whole + b"10=%03d\x01" % (sum(whole) % 256)])
    assert found.fields == [(35, b"B"), (95, b"5"), (96, b"a\x01=\x01b"), (58, b"t")]


def test_encode_when_a_value_holds_the_separator_is_refused():
    with pytest.raises(ValueError, match="tag 58"):
        encode([(35, "0"), (58, "a\x01b")])


@given(st.integers(946_684_800_000_000, 4_102_444_799_999_999))
def test_time_when_written_and_read_keeps_the_millisecond(micros):
    assert time_of(time_text(micros).encode()) == micros - micros % 1000


@pytest.mark.parametrize("value", [b"", b"20261121", b"20261121-25:00:00", b"x" * 17])
def test_time_when_it_is_none_is_refused(value):
    with pytest.raises(ValueError, match=r"UTCTimestamp|does not match|unconverted"):
        time_of(value)
