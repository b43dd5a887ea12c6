"""Settings of the market replay: the section ``[market]``."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from connectors.fields import Name, Seconds, Section, spelled
from connectors.market.prices import BUNDLED, PricesError, locate, read_closes

REAL_DAY = 86_400.0
"""Seconds that a recorded trading day takes at speed 1."""

Rate = Annotated[float, Field(ge=0, le=1)]


class MarketInstrument(Section):
    """One instrument and the closes it is replayed from.

    ``file``: a CSV of daily closes beside the settings file, or a bundled one. ``tick_size``: least price step.
    ``spread_ticks``: ask minus bid, in ticks. ``venue``: begins with REPLAY, so that nobody takes the ticks for real.
    """

    instrument: Name
    file: Annotated[str, Field(min_length=1)]
    venue: Annotated[Name, spelled("REPLAY.*", "a name that begins with REPLAY")] = "REPLAY"
    tick_size: Annotated[Decimal, Field(ge=Decimal("0.000001"), le=1_000_000)] = Decimal("0.01")
    spread_ticks: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 2

    @field_validator("file")
    @classmethod
    def _readable(cls, value: str, info: ValidationInfo) -> str:
        folder: Path = (info.context or {}).get("folder", Path())
        path = locate(value, folder)
        if path is None:
            raise ValueError(f"there is no file {Path(folder, value)}, and the bundled ones are {', '.join(BUNDLED)}")
        try:
            read_closes(path)
        except PricesError as error:
            raise ValueError(str(error)) from error
        return str(path)

    @property
    def path(self) -> Path:
        """The price file."""
        return Path(self.file)


class Silence(Section):
    """The instrument's feed stops ``after`` so long since the start and goes on when it has lasted for ``lasts``."""

    instrument: Name
    after: Seconds
    lasts: Seconds


class LineFaults(Section):
    """Probability, per message, of being lost, sent twice, or overtaken by the next one."""

    delete: Rate = 0.0
    duplicate: Rate = 0.0
    swap: Rate = 0.0

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.delete + self.duplicate + self.swap > 1:
            raise ValueError("delete, duplicate and swap together must not exceed 1")
        return self


def _default_instruments() -> tuple[MarketInstrument, ...]:
    names = {"WTI": "wti-daily.csv", "BRENT": "brent-daily.csv", "HENRY-HUB": "henry-hub-daily.csv"}
    return tuple(
        MarketInstrument(
            instrument=name, file=file, tick_size=Decimal("0.001" if name == "HENRY-HUB" else "0.01"), spread_ticks=2
        )
        for name, file in names.items()
    )


class MarketConfig(Section):
    """A replay: which instruments, from which day, how fast, with which faults.

    ``start``: the first close on or after this day is where the path begins (default: each file's first).
    ``ticks_per_day``: synthetic ticks between two closes. The pace is ``rate`` (ticks per second and instrument) or
    ``speed`` (1 replays a trading day in 24 hours, 1440 in a minute; ``"max"`` as fast as Kafka takes them), never
    both; without either it is 10 ticks per second. ``seed``: the same seed gives the same prices and faults.
    ``loop``: begin anew after the last close. ``max_ticks``: end after so many ticks of all instruments together,
    counted before faults. ``silence_after``: an instrument without a tick for so long has a gap.
    """

    instruments: Annotated[tuple[MarketInstrument, ...], Field(min_length=1, max_length=10_000)] = Field(
        default_factory=_default_instruments
    )
    start: datetime.date | None = None
    ticks_per_day: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1_000
    rate: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None
    speed: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | Literal["max"] | None = None
    seed: Annotated[int, Field(strict=True)] = 1
    faults: LineFaults = LineFaults()
    silences: tuple[Silence, ...] = ()
    silence_after: Seconds = 5_000_000
    loop: bool = True
    max_ticks: Annotated[int, Field(strict=True, ge=1)] | None = None

    @property
    def pace(self) -> float | None:
        """Ticks per second and instrument; None: as fast as possible."""
        if self.speed == "max":
            return None
        if self.speed is not None:
            return self.ticks_per_day * self.speed / REAL_DAY
        return 10.0 if self.rate is None else self.rate

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [one.instrument for one in self.instruments]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"instruments named twice: {', '.join(twice)}; every instrument once")
        if unknown := sorted({one.instrument for one in self.silences} - set(names)):
            raise ValueError(f"silences name unknown instruments: {', '.join(unknown)}; known are {', '.join(names)}")
        if self.rate is not None and self.speed is not None:
            raise ValueError("give rate or speed, not both")
        if self.pace is not None and 2 / self.pace > self.silence_after / 1e6:
            raise ValueError(
                f"a tick every {1 / self.pace:g} s would look like silence after {self.silence_after / 1e6:g} s; "
                f"raise silence_after to at least {2 / self.pace:g}, or the pace"
            )
        for one in self.instruments if self.start is not None else ():
            last = read_closes(one.path)[-1].day
            if self.start is not None and self.start >= last:
                raise ValueError(
                    f"start {self.start}: the closes of {one.instrument} end on {last}; choose an earlier day"
                )
        return self
