"""The framings of Modbus: TCP (also within TLS), RTU and ASCII. Pure; decodes answers only.

Strict where the library's framers are lenient: they take a piece of an answer within TLS as the whole of it, look for a
frame within garbage, and fail at an ASCII frame that is none. Checksums are the library's. Sources: Modbus Messaging on
TCP/IP V1.0b, section 3.1.3; Modbus over Serial Line V1.02, section 2.5.
"""

from __future__ import annotations

import binascii
import struct
from typing import NamedTuple, Protocol

from pymodbus.framer import FramerAscii, FramerRTU

from connectors.modbus.line import Framing

MOST = 253
"""Bytes of a PDU (function code and data) at most."""
_HEADER = struct.Struct(">HHHB")
_ASCII_MOST = 1 + 2 * (MOST + 2) + 2
_LENGTH_FOLLOWS = (1, 2, 3, 4)
_ECHOES = {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}
"""Size of the whole frame by function."""


class Frame(NamedTuple):
    """One answer. ``transaction`` is None on framings that have no such thing."""

    unit: int
    transaction: int | None
    pdu: bytes


class Garbled(ValueError):
    """What came is no frame; says why."""


class Decoder(Protocol):
    """Takes bytes as they come. After Garbled it is not to be used any more."""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises Garbled. Keeps no more than one frame's bytes."""


def encode(framing: Framing, unit: int, transaction: int, pdu: bytes) -> bytes:
    """The frame of a question."""
    if framing is Framing.TCP:
        return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu
    body = bytes([unit]) + pdu
    if framing.is_ascii:
        return b":" + (body + bytes([FramerAscii.compute_LRC(body)])).hex().upper().encode() + b"\r\n"
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def decoder(framing: Framing) -> Decoder:
    """A new decoder, for one connection."""
    if framing is Framing.TCP:
        return _Tcp()
    return _Ascii() if framing.is_ascii else _Rtu()


class _Tcp:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        self._rest += data
        frames = []
        while len(self._rest) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._rest)
            if protocol != 0 or not 2 <= length <= MOST + 1:
                raise Garbled(f"a header with protocol {protocol} and length {length}")
            if len(self._rest) < 6 + length:
                break
            frames.append(Frame(unit, transaction, self._rest[_HEADER.size : 6 + length]))
            self._rest = self._rest[6 + length :]
        return frames


class _Rtu:
    """Where an answer ends follows from what it is; silence on the line cannot be seen through an operating system."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        self._rest += data
        frames = []
        while (size := self._size()) is not None and len(self._rest) >= size:
            body, check = self._rest[: size - 2], self._rest[size - 2 : size]
            if FramerRTU.compute_CRC(body).to_bytes(2, "big") != check:
                raise Garbled(f"a wrong checksum in {self._rest[:size].hex(' ')}")
            frames.append(Frame(body[0], None, body[1:]))
            self._rest = self._rest[size:]
        return frames

    def _size(self) -> int | None:
        if len(self._rest) < 2:
            return None
        function = self._rest[1]
        if function & 0x80:
            return 5
        if function in _ECHOES:
            return _ECHOES[function]
        if function not in _LENGTH_FOLLOWS:
            raise Garbled(f"function {function}, which nobody asks for")
        return 5 + self._rest[2] if len(self._rest) > 2 else None


class _Ascii:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        self._rest += data
        frames = []
        while self._rest:
            if not self._rest.startswith(b":"):
                raise Garbled(f"{self._rest[:20]!r} where a colon begins a frame")
            line, end, rest = self._rest.partition(b"\r\n")
            if not end:
                if len(self._rest) > _ASCII_MOST:
                    raise Garbled(f"more than {_ASCII_MOST} characters without an end")
                break
            self._rest = rest
            frames.append(self._frame(line[1:]))
        return frames

    def _frame(self, line: bytes) -> Frame:
        try:
            body = binascii.a2b_hex(line)
        except binascii.Error:
            raise Garbled(f"{line[:40]!r} is not hexadecimal") from None
        if not 4 <= len(body) <= MOST + 2:
            raise Garbled(f"a frame of {len(body)} bytes")
        if FramerAscii.compute_LRC(body[:-1]) != body[-1]:
            raise Garbled(f"a wrong checksum in {line!r}")
        return Frame(body[0], None, body[1:-1])
