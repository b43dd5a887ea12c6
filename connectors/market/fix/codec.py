"""FIX 4.4 tag=value messages: bytes to fields and back. Pure.

Own code: the kept pure-Python library (simplefix) frames by looking for tag 10 and checks neither body length nor
checksum, nor does it bound what it buffers; a venue that sends rubbish must be noticed and cost nothing.
Source: FIX 4.4 specification, volume 1, "FIX message format and delivery".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from zlib import adler32

import msgspec

SOH = b"\x01"
BEGIN = b"8=FIX.4.4\x019="
MOST_BYTES = 1 << 20
"""Largest body that is taken; what says it is longer is cut off as garbled."""
_TRAILER = 7  # 10=nnn|
_LENGTH_DIGITS = 8
# Length fields, each of which is followed by a data field that may hold any byte.
_DATA = {90: 91, 93: 89, 95: 96, 212: 213, 348: 349, 350: 351, 352: 353, 354: 355, 356: 357, 358: 359, 360: 361}
_DATA |= {362: 363, 364: 365, 445: 446, 618: 619, 621: 622}
_PIECE = 256
Field = tuple[int, bytes]


class _Tags(dict[bytes, int]):
    """Tags by their digits; to look one up is faster than to read a number. Raises ValueError where there is none."""

    def __missing__(self, digits: bytes) -> int:
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS:
            raise ValueError(f"{digits!r:.40} is no tag")
        return int(digits)


_TAGS = _Tags({b"%d" % tag: tag for tag in range(1, 1000)})


class Garbled(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no message: to be dropped without counting a sequence number (volume 2, "garbled")."""

    reason: str
    raw: bytes


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message. ``fields``: tag and value in order, without 8, 9 and 10. ``raw``: as it came.

    ``first``: the first value of each tag; in a repeating group the walk is over ``fields``.
    """

    fields: Sequence[Field]
    raw: bytes
    first: Mapping[int, bytes]

    @property
    def kind(self) -> bytes:
        """MsgType (35)."""
        return self.first.get(35, b"")

    def get(self, tag: int) -> bytes | None:
        """The first value of ``tag``."""
        return self.first.get(tag)

    def text(self, tag: int) -> str:
        """The first value of ``tag`` as text, empty when there is none; what is not UTF-8 is shown escaped."""
        return self.first.get(tag, b"").decode("utf-8", "backslashreplace")

    def number(self, tag: int) -> int | None:
        """The first value of ``tag`` as an integer; None when there is none or it is no plain integer."""
        value = self.first.get(tag)
        return int(value) if value is not None and len(value) <= 18 and value.isdigit() else None

    def flag(self, tag: int) -> bool:
        """Whether ``tag`` says Y."""
        return self.first.get(tag) == b"Y"


class Decoder:
    """Cuts a byte stream into messages. Holds at most one message and what was read beyond it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message | Garbled]:
        """All that is complete. Rubbish between messages, wrong lengths and checksums come out as :class:`Garbled`."""
        buffer = self._buffer
        buffer += data
        start = 0
        whole = bytes(buffer)
        while True:
            begin = start if whole.startswith(BEGIN, start) else whole.find(BEGIN, start)
            if begin < 0:
                keep = max(start, len(whole) - len(BEGIN) + 1)
                # What may yet become a beginning stays.
                while keep < len(whole) and not BEGIN.startswith(whole[keep:]):
                    keep += 1
                if keep > start:
                    yield Garbled("bytes between messages", whole[start:keep])
                start = keep
                break
            if begin > start:
                yield Garbled("bytes between messages", whole[start:begin])
                start = begin
            size = self._size(whole, begin)
            if size is None:
                break
            if isinstance(size, str):
                start = _next(whole, begin)
                yield Garbled(size, whole[begin:start])
                continue
            end, body = size
            found = _parse(whole, begin, body, end)
            # After a wrong length the next message may begin within what it claimed.
            start = end if isinstance(found, Message) else _next(whole, begin)
            if isinstance(found, Garbled):
                found = Garbled(found.reason, whole[begin:start])
            yield found
        self._buffer = bytearray(whole[start:])

    def _size(self, whole: bytes, begin: int) -> tuple[int, int] | str | None:
        """End of the message and begin of its body; None: more is needed; text: what is wrong."""
        at = begin + len(BEGIN)
        stop = whole.find(SOH, at, at + _LENGTH_DIGITS + 1)
        if stop < 0:
            return None if len(whole) - at <= _LENGTH_DIGITS else "BodyLength (9) is no number"
        digits = whole[at:stop]
        if not digits.isdigit():
            return "BodyLength (9) is no number"
        length = int(digits)
        if length > MOST_BYTES:
            return f"BodyLength (9) is {length}; at most {MOST_BYTES} is taken"
        end = stop + 1 + length + _TRAILER
        if len(whole) >= end:
            return end, stop + 1
        # Waiting for what it claims would hold up what is there: the next message has begun.
        return "BodyLength (9) leads beyond the next message" if whole.find(SOH + BEGIN, stop) >= 0 else None


def _next(whole: bytes, begin: int) -> int:
    """Where the search goes on after a message that is garbled."""
    found = whole.find(BEGIN, begin + 1)
    return found if found >= 0 else max(begin + 1, len(whole) - len(BEGIN) + 1)


def _parse(whole: bytes, begin: int, body: int, end: int) -> Message | Garbled:
    trailer = end - _TRAILER
    if whole[trailer - 1 : trailer + 3] != b"\x0110=" or whole[end - 1] != 1:
        return Garbled("BodyLength (9) does not lead to the CheckSum (10)", b"")
    expected = _checksum(whole, begin, trailer)
    if whole[trailer + 3 : end - 1] != b"%03d" % expected:
        return Garbled(f"the CheckSum (10) is not {expected:03d}", b"")
    try:
        fields, first = _fields(whole[body : trailer - 1])
    except ValueError:
        return Garbled("a field without tag", b"")
    if not fields or fields[0][0] != 35:
        return Garbled("MsgType (35) is not the third field", b"")
    return Message(fields, whole[begin:end], first)


def _checksum(whole: bytes, begin: int, end: int) -> int:
    """The sum of the bytes modulo 256. Adler-32 ends in their sum plus 1, exact for 256 bytes, and is much faster."""
    total = 0
    for at in range(begin, end, _PIECE):
        total += (adler32(whole[at : min(at + _PIECE, end)]) & 0xFFFF) - 1
    return total % 256


def _fields(body: bytes) -> tuple[list[Field], dict[int, bytes]]:
    """The fields in order, and the first of each tag. Raises ValueError."""
    tags = _TAGS
    with suppress(ValueError):  # perhaps the separator within data
        fields = [(tags[tag], value) for tag, _, value in [part.partition(b"=") for part in body.split(SOH)]]
        first = dict(reversed(fields))
        if _DATA.keys().isdisjoint(first):
            return fields, first
    fields = _with_data(body)
    return fields, dict(reversed(fields))


def _with_data(body: bytes) -> list[Field]:
    """The slow way, for messages with data fields, which may hold the separator."""
    fields: list[Field] = []
    at = 0
    expected: tuple[int, int] | None = None
    while at < len(body):
        equals = body.index(b"=", at)
        tag = _TAGS[body[at:equals]]
        at = equals + 1
        if expected is not None and tag == expected[0]:
            stop = at + expected[1]
            if stop > len(body) or body[stop : stop + 1] not in (b"", SOH):
                raise ValueError("the data is not as long as it says")
        else:
            stop = body.find(SOH, at)
            stop = len(body) if stop < 0 else stop
        value = body[at:stop]
        fields.append((tag, value))
        expected = (_DATA[tag], int(value)) if tag in _DATA else None
        at = stop + 1
    return fields


def encode(fields: Iterable[tuple[int, bytes | str | int]]) -> bytes:
    """A whole message from the fields after 9 and before 10; the first must be MsgType (35).

    Raises ValueError when a value holds the separator.
    """
    parts = []
    for tag, value in fields:
        raw = value if isinstance(value, bytes) else str(value).encode()
        if SOH in raw:
            raise ValueError(f"the value of tag {tag} holds the separator 0x01")
        parts.append(b"%d=%b\x01" % (tag, raw))
    body = b"".join(parts)
    whole = BEGIN + b"%d\x01" % len(body) + body
    return whole + b"10=%03d\x01" % (sum(whole) % 256)


def time_text(micros: int) -> str:
    """UTCTimestamp with milliseconds: 20261121-14:30:00.123."""
    return (
        datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y%m%d-%H:%M:%S") + f".{micros % 10**6 // 1000:03d}"
    )


@lru_cache(maxsize=1024)
def time_of(value: bytes) -> int:
    """Microseconds of a UTCTimestamp of any precision; what is finer than a microsecond is cut. Raises ValueError."""
    whole, _, rest = value.partition(b".")
    if rest and not (rest.isdigit() and len(rest) <= 12):
        raise ValueError(f"{value!r:.60} is no UTCTimestamp")
    return _second(whole) + (int(rest[:6].ljust(6, b"0")) if rest else 0)


@lru_cache(maxsize=1024)
def _second(value: bytes) -> int:
    if len(value) != 17:
        raise ValueError(f"{value!r:.60} is no UTCTimestamp; expected for example 20261121-14:30:00.123")
    text = value.decode("ascii", "strict")
    if text.endswith(":60"):  # a leap second counts as the second before
        text = text[:-2] + "59"
    return int(datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp()) * 1_000_000
