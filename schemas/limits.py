"""Risk limits: written into every partition of a compacted control topic."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from schemas.base import Count, Currency, Identifier, Micros, Record, Text


class Measure(enum.StrEnum):
    """What a limit bounds, per book and currency; with an instrument: of that position alone.

    gross: sum of absolute market values; net: absolute sum of market values; loss: -(realised + unrealised - fees).
    """

    GROSS = "gross"
    NET = "net"
    LOSS = "loss"


class Limit(Record, frozen=True, kw_only=True):
    """A soft and a hard limit on one measure of a book, in ``currency``.

    A breach opens when the measure exceeds a level and closes when it is down to level x (1 - hysteresis), so that
    a value that trembles at the level makes one alert and not a hundred. A limit that is not ``active`` closes its
    breaches.
    """

    limit_id: Identifier
    version: Count
    book: Identifier
    measure: Measure
    instrument: Identifier | None = None
    currency: Currency
    soft: Annotated[float, Meta(ge=0, le=1e18)]
    hard: Annotated[float, Meta(ge=0, le=1e18)]
    hysteresis: Annotated[float, Meta(ge=0, lt=1)] = 0.02
    active: bool = True
    owner: Text = ""
    event_time: Micros
    receive_time: Micros

    def __post_init__(self) -> None:
        """A hard limit below the soft one can only be a mistake."""
        if self.hard < self.soft:
            raise ValueError("hard must not be below soft")
