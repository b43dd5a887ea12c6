"""From a Sparkplug metric to telemetry records, or to the reason why it cannot become one. Pure."""

from __future__ import annotations

from connectors.checks import Checks
from connectors.sparkplug.address import Scope
from connectors.sparkplug.config import Point, SparkplugConfig
from connectors.sparkplug.effects import Sample
from connectors.sparkplug.payload import Refused
from connectors.sparkplug.values import NoNumber, number
from schemas.base import EARLIEST_TIME, LATEST_TIME, Quality
from schemas.telemetry import Telemetry

_QUALITIES = {0: Quality.BAD, 192: Quality.GOOD, 500: Quality.UNCERTAIN}
_NAMES = {0: "bad", 500: "stale"}


class Translator:
    """Knows the devices and points of one configuration."""

    def __init__(self, config: SparkplugConfig) -> None:
        self._clock_tolerance = config.clock_tolerance
        self._checks = Checks()
        self._devices = {device.scope: device.name for device in config.devices}
        self._points: dict[tuple[Scope, str], list[Point]] = {}
        for device in config.devices:
            for point in device.points:
                self._points.setdefault((device.scope, point.metric), []).append(point)

    def translate(self, sample: Sample, receive_time: int) -> list[tuple[Telemetry, str]]:
        """A record and its event id for each point that the metric feeds; none for a metric that nobody wants.

        Raises :class:`Refused` for a time that cannot be.
        """
        points = self._points.get((sample.scope, sample.definition.name))
        if points is None:
            return []
        millis = sample.sent if sample.metric.timestamp is None else sample.metric.timestamp
        event_time = receive_time if millis is None else millis * 1000
        if not EARLIEST_TIME <= event_time < LATEST_TIME:
            raise Refused(
                f"metric {sample.definition.name[:100]!r}: the time {millis} ms is outside the years 2000 to 2099; "
                "is the device's clock set?"
            )
        device = self._devices[sample.scope]
        found = []
        for point in points:
            value, quality, reason = self._value(sample, point, event_time - receive_time)
            record = Telemetry(
                device=device,
                point=point.name,
                value=value,
                unit=point.arrives_in,
                quality=quality,
                reason=reason[:2000],
                sequence=sample.seq,
                event_time=event_time,
                receive_time=receive_time,
            )
            record = self._checks.apply(point, record)
            place = f"{sample.bdseq}.{sample.seq}.{sample.place}"
            found.append((record, f"{device}/{point.name}/{event_time}/{place}"))
        return found

    def stale(self, scope: Scope, point: str, unit: str, time: int | None, detail: str, receive_time: int) -> Telemetry:
        """The record that says that nothing is known of a point any more since ``time``, or since now."""
        return Telemetry(
            device=self._devices[scope],
            point=point,
            value=None,
            unit=unit,
            quality=Quality.BAD,
            reason=f"stale: {detail}"[:2000],
            sequence=0,
            event_time=time if time is not None and EARLIEST_TIME <= time < LATEST_TIME else receive_time,
            receive_time=receive_time,
        )

    def _value(self, sample: Sample, point: Point, ahead: int) -> tuple[float | None, Quality, str]:
        """The value, its quality as far as this host can tell, and every reason; quality is never made better."""
        metric = sample.metric
        quality, doubts = Quality.GOOD, []
        reasons = ["historical"] if metric.is_historical else []
        if metric.quality is not None:
            quality = _QUALITIES.get(metric.quality, Quality.UNCERTAIN)
            if metric.quality not in _QUALITIES:
                reasons.append("the source's quality cannot be read; expected 0, 192 or 500")
            elif quality is not Quality.GOOD:
                reasons.append(f"the source says {_NAMES[metric.quality]} ({metric.quality})")
        value: float | None = None
        if metric.is_null:
            quality = Quality.BAD
            reasons.append("the source gave no value")
        else:
            try:
                value, doubt = number(metric.raw, sample.definition.datatype, point.select, sample.definition.members)
            except NoNumber as error:
                quality = Quality.BAD
                reasons.append(str(error))
            else:
                doubts += [doubt] if doubt else []
        unit = metric.unit or sample.definition.unit
        wanted = point.eng_unit or point.arrives_in
        if unit is not None and unit != wanted:
            quality = Quality.BAD
            reasons.append(f"the source's unit is {unit[:40]!r}, but {point.name} is configured in {wanted!r}")
        if ahead > self._clock_tolerance:
            doubts.append(f"the source's time is {ahead / 1e6:.1f} s ahead of this clock")
        if doubts and quality is Quality.GOOD:
            quality = Quality.UNCERTAIN
        return value, quality, "; ".join(reasons + doubts)
