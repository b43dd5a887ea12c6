"""The recording: one JSON object a line, a header and then every piece of bytes with its time and direction.

Readable with any editor, bit-exact since bytes are Base64, complete up to the last line even after a crash. It holds
whatever went over the wire, passwords too, so that only its owner may read it.
"""

from __future__ import annotations

import enum
import os
import threading
import time
from pathlib import Path
from typing import IO

import msgspec


class Direction(enum.StrEnum):
    """Seen from the connector."""

    OPENED = "opened"
    SENT = "sent"
    RECEIVED = "received"
    CLOSED = "closed"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded: the settings as TOML text and the file they stood in, and when (UTC microseconds)."""

    gridtape_capture: int = 1
    file: str
    settings: str
    started: int


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of one connection. ``at``: microseconds since the start; ``link`` numbers the connections."""

    at: int
    link: int
    target: str
    direction: Direction
    data: bytes = b""


class CaptureError(ValueError):
    """A recording cannot be read; says which file and line."""


class Writer:
    """Appends frames to a new file. Thread-safe. Raises OSError."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file: IO[bytes] = open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 - closed by close(); only open() takes an opener
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self.frames = 0
        self._line(header)

    def write(self, link: int, target: str, direction: Direction, data: bytes = b"") -> None:
        """Record one piece now."""
        at = round((time.monotonic() - self._start) * 1e6)
        with self._lock:
            if not self._file.closed:
                self._line(Frame(at=at, link=link, target=target, direction=direction, data=data))
                self.frames += 1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _line(self, entry: Header | Frame) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()


def read(path: Path) -> tuple[Header, list[Frame]]:
    """The whole recording. Raises CaptureError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror}") from error
    place = 1
    try:
        header = msgspec.json.decode(lines[0], type=Header)
        frames = []
        for place, line in enumerate(lines[1:], 2):  # noqa: B007 - told when it fails
            frames.append(msgspec.json.decode(line, type=Frame))
    except (IndexError, msgspec.MsgspecError) as error:
        raise CaptureError(f"{path}:{place}: this is no recording of gridtape connect capture: {error}") from error
    return header, frames
