"""Rows of a Parquet file, read by a process of its own: see :mod:`connectors.market.recorded.reading`."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors.market.recorded import reading
from connectors.market.recorded.rows import Moment, Row, Unreadable

PATIENCE = 60.0
"""Seconds for a batch; a file for which it takes longer is left."""
_LOOK_SECONDS = 0.2


def rows(path: Path, columns: Sequence[str], stop: threading.Event) -> Generator[Row]:
    """The rows, until ``stop`` is set. Close it when you need no more. Raises Unreadable."""
    number = 0
    with tempfile.TemporaryFile() as said:
        command = [sys.executable, "-m", reading.__name__, str(path), *columns]
        reader = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        try:
            for batch in _batches(reader.stdout.fileno() if reader.stdout else -1, stop):
                for values in zip(*batch, strict=True):
                    number += 1
                    yield Row(number, values)
            if not stop.is_set() and (status := reader.wait(PATIENCE)):
                said.seek(0)
                lines = said.read().decode("utf-8", "replace").split("\n")
                why = next((line for line in reversed(lines) if line.strip()), "nothing was said")
                ended = "" if status == 1 else f"the library ended with signal {-status}: "
                raise Unreadable(f"cannot be read behind row {number}: {ended}{why[:500]}")
        except TimeoutError:
            raise Unreadable(f"cannot be read behind row {number}: nothing for {PATIENCE:g} s") from None
        finally:
            reader.kill()
            reader.communicate()


def _batches(pipe: int, stop: threading.Event) -> Iterator[list[list[Any]]]:
    while (head := _exactly(pipe, 4, stop)) and (message := _exactly(pipe, int.from_bytes(head, "big"), stop)):
        batch: list[list[Any]] = msgspec.msgpack.decode(message)
        yield [[Moment(*one) if type(one) is list else one for one in column] for column in batch]


def _exactly(pipe: int, count: int, stop: threading.Event) -> bytes:
    """``count`` bytes; nothing when they do not come any more, or ``stop`` is set. Raises TimeoutError."""
    found = bytearray()
    deadline = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        while len(found) < count and not stop.is_set():
            if not ready.select(_LOOK_SECONDS):
                if time.monotonic() > deadline:
                    raise TimeoutError
                continue
            more = os.read(pipe, min(count - len(found), 1 << 20))
            if not more:
                return b""
            found += more
    return b"" if stop.is_set() else bytes(found)
