"""Reads CSV with a header, plain or packed with gzip, in UTF-8: a line at a time, none longer than ``MOST_LINE``.

Own code around the csv module: that reads a line whatever its length, and after an open quote the rest as one field.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Protocol, get_args

from connectors.market.recorded.config import Delimiter
from connectors.market.recorded.rows import Row, Unreadable, places

MOST_LINE = 1 << 16
"""Bytes of a line; a longer one is put aside."""
MOST_SKIPPED = 1 << 26
"""Bytes without an end of line; after that the file is no text."""


class _Lines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


def rows(path: Path, columns: Sequence[str], delimiter: str) -> Generator[Row]:
    """The rows, by line. Raises Unreadable."""
    number = 0
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = path.suffix == ".gz"
            for row in _rows(gzip.GzipFile(fileobj=file) if packed else file, columns, delimiter):
                number = row.number
                yield row
            if file.tell() < size:
                raise Unreadable(f"the file was {size} bytes long when it was opened, and ends now at {file.tell()}")
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"cannot be read behind line {number}: {error or type(error).__name__}") from error


def _rows(file: _Lines, columns: Sequence[str], delimiter: str) -> Iterator[Row]:
    chosen: list[int] | None = None
    width = 0
    for number, (line, problem) in enumerate(_lines(file), 1):
        fields: list[str] = []
        try:
            fields = [] if problem else _fields(line, delimiter)
        except (ValueError, csv.Error) as error:
            problem = str(error)
        if chosen is None:
            if problem:
                raise Unreadable(f"line 1 should name the columns: {problem}")
            if len(fields) == 1:
                _ask_about_delimiter(fields[0], delimiter)
            fields = [name.strip() for name in fields]
            chosen, width = places(columns, fields), len(fields)
        elif problem:
            yield Row(number, (), line, problem)
        elif not line.strip():
            continue
        elif len(fields) != width:
            yield Row(number, (), line, f"has {len(fields)} fields; the header has {width}")
        else:
            yield Row(number, [fields[place] for place in chosen], line)
    if chosen is None:
        raise Unreadable("is empty; the first line should name the columns")


def _ask_about_delimiter(header: str, delimiter: str) -> None:
    """Raises Unreadable where a header is one column only because other columns end otherwise."""
    for other in get_args(Delimiter):
        if other != delimiter and other in header:
            raise Unreadable(
                f"line 1 has no {json.dumps(delimiter)} but {json.dumps(other)}: {header[:80]!r}; "
                f"is it delimiter = {json.dumps(other)}?"
            )


def _lines(file: _Lines) -> Iterator[tuple[bytes, str]]:
    """Each line without its end, or the beginning of one that is none and why."""
    while line := file.readline(MOST_LINE):
        if line.endswith(b"\n"):
            yield line.rstrip(b"\r\n"), ""
        elif len(line) < MOST_LINE:
            # It may have been cut within a number.
            yield line, "the last line does not end: the file is cut off, or still being written"
        else:
            yield line, f"longer than {MOST_LINE} bytes"
            _skip(file)


def _skip(file: _Lines) -> None:
    skipped = 0
    while (more := file.readline(MOST_LINE)) and not more.endswith(b"\n"):
        skipped += len(more)
        if skipped > MOST_SKIPPED:
            raise OSError(f"{MOST_SKIPPED} bytes without an end of line: this is no text of ticks")


def _fields(line: bytes, delimiter: str) -> list[str]:
    text = line.decode("utf-8-sig" if line.startswith(b"\xef\xbb\xbf") else "utf-8")
    if '"' not in text:
        return text.split(delimiter)
    return next(csv.reader([text], delimiter=delimiter, strict=True))
