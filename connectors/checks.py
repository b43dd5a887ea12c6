"""What makes a value doubtful whatever its protocol: range, spike, flat line, age. A flag with a reason, no correction.

The value of a point is changed in one way only, and only when asked for: ``source_unit`` converts it to ``unit``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from msgspec import structs
from pydantic import Field, model_validator

from connectors.fields import Number, Range, Section, Unit, seconds
from connectors.units import conversion
from schemas.base import LATEST_TIME, Quality
from schemas.telemetry import Telemetry


class Measured(Section):
    """What every point's settings have in common.

    ``unit``: UCUM code of the record; ``source_unit``: what the source gives, where it differs: converted exactly,
    rounded once. All that follows is in ``unit``, and flags a value *uncertain* with the reason. ``range``: outside of
    it. ``spike``: a change faster than this per second since the point's last value. ``flat``: no change at all for
    longer than this many seconds. ``stale``: the source's time is older than this many seconds on arrival.
    ``expires``: seconds after its time from which the value says nothing about the present (``valid_until``).
    """

    unit: Unit
    source_unit: Unit | None = None
    range: Range | None = None
    spike: Annotated[Number, Field(gt=0)] | None = None
    flat: Annotated[int, seconds()] | None = None
    stale: Annotated[int, seconds()] | None = None
    expires: Annotated[int, seconds(most=31_622_400)] | None = None

    @property
    def arrives_in(self) -> str:
        """The unit in which the source gives the value."""
        return self.source_unit or self.unit

    @model_validator(mode="after")
    def _converts(self) -> Self:
        if self.source_unit is not None:
            conversion(self.source_unit, self.unit)
        return self


@dataclass(slots=True)
class _Past:
    value: float
    time: int
    unchanged_since: int


class Checks:
    """The checks of any number of points; remembers the newest value of each. Pure: times are the records'."""

    def __init__(self) -> None:
        self._past: dict[tuple[str, str], _Past] = {}

    def apply(self, how: Measured, record: Telemetry) -> Telemetry:
        """``record``, whose value is in the source's unit, as it is to be written. Bad quality stays bad."""
        value, quality, doubts = record.value, record.quality, []
        if value is not None and how.source_unit is not None:
            value = conversion(how.source_unit, how.unit)(value)
            if value is None:
                quality = Quality.BAD
                doubts.append(f"{record.value:g} {how.source_unit} is beyond what is recorded in {how.unit} (±1e18)")
        if value is not None:
            doubts += self._doubts(how, record, value)
        if not (doubts or record.reason or how.source_unit or how.expires) and record.unit == how.unit:
            return record  # as it came, nearly always
        if doubts and quality is Quality.GOOD:
            quality = Quality.UNCERTAIN
        return structs.replace(
            record,
            value=value,
            unit=how.unit,
            quality=quality,
            reason="; ".join([record.reason, *doubts] if record.reason else doubts)[:2000],
            valid_until=None if how.expires is None else min(record.event_time + how.expires, LATEST_TIME - 1),
        )

    def _doubts(self, how: Measured, record: Telemetry, value: float) -> list[str]:
        doubts = []
        if how.range is not None and (outside := how.range.problem(value)):
            doubts.append(outside)
        if how.stale is not None and (age := record.receive_time - record.event_time) > how.stale:
            doubts.append(f"stale: the source's time was {age / 1e6:g} s ago")
        key = (record.device, record.point)
        past = self._past.get(key)
        if past is None:
            self._past[key] = _Past(value, record.event_time, record.event_time)
            return doubts
        if record.event_time < past.time:
            return doubts  # from before the newest: it says nothing about how the value moves now
        passed, change = (record.event_time - past.time) / 1e6, abs(value - past.value)
        if how.spike is not None and change > how.spike * max(passed, 1e-6):
            doubts.append(f"spike: a change of {change:g} within {passed:g} s is more than {how.spike:g} a second")
        if value != past.value:
            past.unchanged_since = record.event_time
        elif how.flat is not None and (rest := record.event_time - past.unchanged_since) > how.flat:
            doubts.append(f"flat line: {value:g} without any change for {rest / 1e6:g} s")
        past.value, past.time = value, record.event_time
        return doubts
