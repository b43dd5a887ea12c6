"""What a market feed tells, whatever its protocol. Prices and sizes are finite float64; times microseconds, UTC."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from schemas.base import EARLIEST_TIME, LATEST_TIME
from schemas.books import Trading

LARGEST_PRICE = 1e9
LARGEST_SIZE = 1e18


class Bad(ValueError):
    """A message of the venue that cannot be used; the text says what is wrong with it."""


class Side(enum.Enum):
    """A side of the book."""

    BID = "bid"
    ASK = "ask"


class Quoted(NamedTuple):
    """Size at a price; 0 takes the level (or the order) away. ``entry``: the order's id where the venue sends orders.

    ``price`` None: the price that the order had.
    """

    side: Side
    price: float | None
    size: float
    entry: str = ""


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """The whole book. ``sequence``: the last update that it contains, None where the venue does not number.

    ``first``: the first number that it stands for, where each message is a book; None: it contains all before.
    """

    instrument: str
    levels: Sequence[Quoted]
    event_time: int
    sequence: int | None = None
    first: int | None = None


class Update(msgspec.Struct, frozen=True, gc=False):
    """Changes that belong together. ``first`` to ``sequence`` are the numbers that they cover, mostly one."""

    instrument: str
    changes: Sequence[Quoted]
    event_time: int
    sequence: int | None = None
    first: int | None = None


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A trade. ``size``: in the venue's own quantity, 0 where not known."""

    instrument: str
    price: float
    size: float
    event_time: int
    sequence: int | None = None


class Phase(msgspec.Struct, frozen=True, gc=False):
    """The venue's session state; ``instrument`` None: of all instruments."""

    instrument: str | None
    trading: Trading


Event = Snapshot | Update | Trade | Phase


def price(value: float) -> float:
    """``value`` if a price can be that; else raises :class:`Bad`. Negative is legal."""
    if not abs(value) <= LARGEST_PRICE:  # also true for NaN
        raise Bad(f"{value} is no price; expected a number within +-{LARGEST_PRICE:g}")
    return value + 0.0  # no -0.0


def size(value: float) -> float:
    """``value`` if a size can be that; else raises :class:`Bad`."""
    if not 0 <= value <= LARGEST_SIZE:
        raise Bad(f"{value} is no size; expected 0 to {LARGEST_SIZE:g}")
    return value


def time_of(micros: float | Decimal) -> int:
    """``micros`` as an integer if it lies within 2000 to 2099; else raises :class:`Bad`."""
    if not (math.isfinite(micros) and EARLIEST_TIME <= micros < LATEST_TIME):
        raise Bad(f"{micros} is no time of the years 2000 to 2099")
    return int(micros)
