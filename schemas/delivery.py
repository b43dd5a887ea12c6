"""Delivery periods of power and gas: local days cut into real time, so that a day has 23, 24 or 25 hours.

Pure, on the zone rules of the IANA database. A local day runs from its first local instant to the next day's; its
periods are counted in elapsed time, never by the clock on the wall, which skips an hour in spring and repeats one in
autumn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_MICROS = 1_000_000
MIDNIGHT = time(0)
GAS_DAY = time(6)
"""The European gas day begins at 06:00 local time (Regulation (EU) 312/2014, article 3: 05:00 UTC, 04:00 in summer)."""


@dataclass(frozen=True, slots=True)
class Period:
    """One delivery period. ``number`` counts from 1 within the day; ``start`` and ``end``: microseconds UTC.

    ``label``: the local time of its start, with ``A`` and ``B`` where the hour comes twice, as on the German market:
    ``02:00A`` is the summer one.
    """

    number: int
    start: int
    end: int
    label: str


def day_span(day: date, zone: str, *, begins: time = MIDNIGHT) -> tuple[int, int]:
    """Start and end of a local delivery day, microseconds UTC: 82,800, 86,400 or 90,000 seconds apart where clocks
    change by an hour. Raises zoneinfo.ZoneInfoNotFoundError for an unknown zone."""
    where = ZoneInfo(zone)
    return _micros(day, begins, where), _micros(day + timedelta(days=1), begins, where)


def periods(day: date, zone: str, *, minutes: int = 60, begins: time = MIDNIGHT) -> list[Period]:
    """The delivery periods of a local day, in order. ``minutes``: 60, 30, 15 or 5.

    Raises ValueError when the day is no whole number of periods, zoneinfo.ZoneInfoNotFoundError for an unknown zone.
    """
    start, end = day_span(day, zone, begins=begins)
    length = minutes * 60 * _MICROS
    if minutes < 1 or (end - start) % length:
        raise ValueError(
            f"{day} in {zone} lasts {(end - start) // 60 // _MICROS} minutes: no whole periods of {minutes}"
        )
    where = ZoneInfo(zone)
    return [Period(place + 1, at, at + length, _label(at, where)) for place, at in enumerate(range(start, end, length))]


def period_at(micros: int, zone: str, *, minutes: int = 60, begins: time = MIDNIGHT) -> tuple[date, Period]:
    """The delivery day and period that hold the instant ``micros``. Raises as :func:`periods`."""
    local = datetime.fromtimestamp(micros // _MICROS, UTC).astimezone(ZoneInfo(zone))
    day = local.date()
    if micros < day_span(day, zone, begins=begins)[0]:
        day -= timedelta(days=1)
    start = day_span(day, zone, begins=begins)[0]
    return day, periods(day, zone, minutes=minutes, begins=begins)[(micros - start) // (minutes * 60 * _MICROS)]


def _micros(day: date, at: time, zone: ZoneInfo) -> int:
    """The first instant at which the local clock shows ``at`` or, where it skips that, has passed it."""
    local = datetime.combine(day, at, zone)  # fold 0: the first of two
    return int(local.timestamp()) * _MICROS


def _label(micros: int, zone: ZoneInfo) -> str:
    local = datetime.fromtimestamp(micros // _MICROS, UTC).astimezone(zone)
    twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
    return local.strftime("%H:%M") + ("AB"[local.fold] if twice else "")
