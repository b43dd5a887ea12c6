"""Daily closes from a CSV file, checked line by line. The bundled ones are described in data/README.md."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import TextIO

BUNDLED = ("wti-daily.csv", "brent-daily.csv", "henry-hub-daily.csv")
LARGEST = 1e7
"""Largest close by magnitude: the path around it stays far inside the range of ``schemas.base.Price``."""


class PricesError(ValueError):
    """A price file cannot be used. The message names the file, the line and what is expected there."""


@dataclass(frozen=True, slots=True)
class Close:
    """The price at the end of one trading day, in the file's own currency and unit; may be negative."""

    day: date
    price: float


def locate(name: str, folder: Path) -> Path | None:
    """The file ``name``: from ``folder`` (that of the settings) if it is there, else the bundled one, else None."""
    own = Path(folder, name).expanduser()
    if own.is_file():
        return own
    return Path(str(files("connectors.market") / "data" / name)) if name in BUNDLED else None


def read_closes(path: Path) -> list[Close]:
    """All closes of a file with the header ``Date,Price``, oldest first.

    A day with an empty price is left out. Raises PricesError for anything else that is no ISO date, no finite number
    within +-1e7, out of order, or when fewer than two closes are left.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            closes = list(_read(path, file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PricesError(f"{path} cannot be read: {error}") from error
    if len(closes) < 2:
        raise PricesError(f"{path} holds {len(closes)} closes; a path needs at least two")
    return closes


def _read(path: Path, file: TextIO) -> Iterator[Close]:
    rows = csv.reader(file)
    header = next(rows, [])
    if header != ["Date", "Price"]:
        raise PricesError(f"{path}, line 1: found {','.join(header)!r}; expected the header Date,Price")
    before: date | None = None
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        if len(row) != 2:
            raise PricesError(f"{where}: found {len(row)} columns; expected a date and a price")
        try:
            day = date.fromisoformat(row[0])
        except ValueError:
            raise PricesError(f"{where}: {row[0]!r} is no date; expected for example 2020-04-20") from None
        if before is not None and day <= before:
            raise PricesError(f"{where}: {day} does not come after {before}; sort the file by date, each day once")
        before = day
        if row[1].strip():
            yield Close(day, _price(where, row[1]))


def _price(where: str, text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not abs(price) <= LARGEST:  # also true for NaN
        raise PricesError(f"{where}: {text!r} is no price; expected a number between -1e7 and 1e7")
    return price
