"""Settings of recorded ticks: the section ``[[recorded]]``."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from connectors.fields import Identified, Name, Number, Seconds, Section, Zone
from connectors.market.values import TimeFormat

SUFFIXES = (".csv", ".csv.gz", ".parquet")
Delimiter = Literal[",", ";", "\t", "|"]
Column = Annotated[str, Field(min_length=1, max_length=200)]


def _there(pattern: str, info: ValidationInfo) -> str:
    folder = Path((info.context or {}).get("folder", Path())).absolute()
    whole = str(Path(glob.escape(str(folder)), Path(pattern).expanduser()))
    found = _matching(whole)
    if not found:
        raise ValueError(f"there is no file {Path(folder, pattern)}")
    if wrong := [path.name for path in found if not path.name.endswith(SUFFIXES)]:
        raise ValueError(f"{', '.join(wrong[:5])}: a file of ticks ends in {', '.join(SUFFIXES)}")
    return whole


def _matching(pattern: str) -> list[Path]:
    return sorted(path for path in map(Path, glob.glob(pattern, recursive=True)) if path.is_file())


class Columns(Section):
    """What the columns are called. ``last`` and ``size``: price and quantity of the last trade."""

    time: Column = "time"
    instrument: Column | None = None
    bid: Column | None = None
    ask: Column | None = None
    last: Column | None = None
    size: Column | None = None
    sequence: Column | None = None

    @model_validator(mode="after")
    def _prices(self) -> Self:
        if self.bid is None and self.ask is None and self.last is None:
            raise ValueError("names no price: give bid and ask, or last, or all three")
        if len(set(self.named.values())) < len(self.named):
            raise ValueError("names a column twice; each can mean one thing only")
        return self

    @property
    def named(self) -> dict[str, str]:
        """What is read: its meaning, and the column where it stands."""
        return {meaning: column for meaning, column in self if column is not None}


class RecordedConfig(Identified):
    """Ticks of one recording, played back in the order of the files and of the rows in them.

    ``files``: paths or patterns beside the settings file; a pattern's files follow by name. All ticks are of
    ``instrument``, or a column names each, and ``instruments`` says which are played: the file's name to ours.
    ``zone``: of times that name none. ``time``: the recorded time is kept, or each tick is played as of ``now``.
    ``speed``: 1 as recorded, 10 ten times as fast, ``"max"`` as fast as Kafka takes them. ``longest_pause``: a pause of
    the recording is not waited for longer. ``silence_after``: an instrument without a tick for so long, while it is
    played, has a gap. ``lot``: one unit of a tick's ``size`` in the file's quantity.
    """

    name: Name
    files: Annotated[tuple[Annotated[str, AfterValidator(_there)], ...], Field(min_length=1, max_length=1000)]
    venue: Name
    instrument: Name | None = None
    instruments: Annotated[dict[str, Name], Field(max_length=10_000)] = Field(default_factory=dict)
    columns: Columns
    delimiter: Delimiter = ","
    time_format: TimeFormat = TimeFormat.ISO
    zone: Zone | None = None
    time: Literal["recorded", "now"] = "recorded"
    speed: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | Literal["max"] = 1.0
    longest_pause: Seconds | None = None
    silence_after: Seconds | None = None
    lot: Annotated[Number, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_column = self.columns.instrument is not None
        if by_column != bool(self.instruments) or by_column == (self.instrument is not None):
            raise ValueError(
                "give instrument, if all ticks are of one; else columns.instrument, and in instruments what it holds"
            )
        if len(set(self.instruments.values())) < len(self.instruments):
            raise ValueError("instruments: two names of the file mean the same instrument; each needs its own")
        if self.time == "now" and not self.venue.startswith("REPLAY"):
            raise ValueError('ticks that are played as of "now" must not look real: begin the venue with REPLAY')
        names = [path.name for path in self.paths()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"files of one name: {', '.join(twice)}; ids are made of the name, so each needs its own")
        return self

    def paths(self) -> list[Path]:
        """The files that are there now, in the order in which they are played."""
        return list(dict.fromkeys(path for pattern in self.files for path in _matching(pattern)))

    @property
    def played(self) -> list[str]:
        """The instruments."""
        return list(self.instruments.values()) if self.instrument is None else [self.instrument]
