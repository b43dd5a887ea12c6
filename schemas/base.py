"""What all records share: the base Struct, the field types with their ranges, coordinates and quality.

Times are UTC, integer microseconds since the Unix epoch. What is booked (quantities, fill prices, realised
P&L, fees) is an exact ``Decimal`` and a string in JSON; what is marked (ticks, marks, risk) is a float64.
NaN and infinity never enter a record: JSON has no spelling for them, and :func:`finite` and :func:`exact`
refuse them before a record is built.
"""

from __future__ import annotations

import enum
import math
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec
from msgspec import Meta

EARLIEST_TIME = 946_684_800_000_000
"""2000-01-01T00:00:00Z in microseconds: an earlier time is a device whose clock was never set."""
LATEST_TIME = 4_102_444_800_000_000
"""2100-01-01T00:00:00Z in microseconds."""

Micros = Annotated[
    int,
    Meta(ge=EARLIEST_TIME, lt=LATEST_TIME, description="UTC microseconds since 1970-01-01, years 2000 to 2099"),
]
IDENTIFIER_CHARACTERS = "A-Za-z0-9._:@/+-"
"""What an Identifier may hold, as it stands in a regular expression's brackets."""
Duration = Annotated[int, Meta(ge=0, le=31_622_400_000_000, description="microseconds, at most 366 days")]
Identifier = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=rf"^[A-Za-z0-9][{IDENTIFIER_CHARACTERS}]*$",
        description="letters, digits and . _ : @ / + -; begins with a letter or digit; never holds the key separator |",
    ),
]
Name = Annotated[
    str,
    Meta(min_length=1, max_length=200, description="an Identifier by contract; only its length is checked on reading"),
]
"""For ticks and telemetry, where the pattern would double the cost of decoding: an unknown name is refused anyway."""
Price = Annotated[float, Meta(ge=-1e9, le=1e9, description="per quantity unit of the instrument; may be negative")]
Value = Annotated[float, Meta(ge=-1e18, le=1e18, description="finite")]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]
Unit = Annotated[str, Meta(max_length=40, description="UCUM code, for example MW, Cel, bar, %, [bbl_us]")]
Text = Annotated[str, Meta(max_length=2000)]


class Record(msgspec.Struct, frozen=True, gc=False):
    """Base of all records. Unknown fields are ignored when read, so a newer writer does not stop an older reader."""


class Quality(enum.StrEnum):
    """How far a value can be trusted, in the three classes that OPC UA, IEC 61850 and Sparkplug share."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class Side(enum.StrEnum):
    """Side of a fill, an intent or an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class Coordinates(Record, frozen=True, kw_only=True, order=True):
    """Where exactly a record stands in Kafka."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Annotated[int, Meta(ge=0)]

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Coordinates:
        """Read what ``str()`` wrote. Raises ValueError naming the text."""
        try:
            topic, rest = text.rsplit("[", 1)
            partition, offset = rest.split("]@", 1)
            return cls(topic=topic, partition=int(partition), offset=int(offset))
        except ValueError:
            raise ValueError(f"{text!r} is no coordinate; expected topic[partition]@offset") from None


def finite(value: float, what: str) -> float:
    """Return ``value`` as float; raise ValueError naming ``what`` when it is NaN or infinite."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}; only finite numbers are recorded")
    return number


def exact(value: str | int | Decimal, what: str) -> Decimal:
    """Return ``value`` as a finite Decimal; raise ValueError naming ``what`` otherwise. Floats are not taken."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{what} is {value!r}; expected a decimal number") from None
    if not number.is_finite():
        raise ValueError(f"{what} is {number}; only finite numbers are booked")
    return number


def key_of(*parts: str) -> str:
    """Join the parts of a message key with the separator that no identifier may hold."""
    return "|".join(parts)


def route_of(key: str) -> str:
    """The first part of a key: it decides the partition and addresses the state."""
    return key.partition("|")[0]
