"""From an MQTT message to a telemetry record, or to the reason why it cannot become one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

from connectors.checks import Checks
from connectors.mqtt import binary
from connectors.mqtt.config import MqttConfig, PayloadFormat, Point, Subscription
from connectors.mqtt.payload import Refused, Sample, read_json, read_number
from schemas.base import Quality
from schemas.telemetry import Telemetry

_TOPICS = 10_000  # whose device and point are remembered; a broker may have any number


def _reader(one: Subscription) -> Callable[[bytes], Sample]:
    if one.raw is not None:
        return binary.raw_reader(one.raw)
    if one.protobuf is not None:
        return binary.protobuf_reader(one.protobuf, one.json_paths)
    if one.payload is PayloadFormat.CBOR:
        return partial(binary.read_cbor, paths=one.json_paths)
    return read_number if one.payload is PayloadFormat.NUMBER else partial(read_json, paths=one.json_paths)


class Translator:
    """Knows the filters, devices and points of one configuration."""

    def __init__(self, config: MqttConfig) -> None:
        self._clock_tolerance = config.clock_tolerance
        self._checks = Checks()
        self._devices = {device.name for device in config.devices}
        self._subscriptions = [
            (one.template, one, {point.name: point for point in one.points}, _reader(one))
            for one in config.subscriptions
        ]
        self._address = lru_cache(_TOPICS)(self._find)

    def translate(
        self, topic: str, payload: bytes, *, retained: bool, receive_time: int
    ) -> tuple[Telemetry, str, int | None]:
        """The record, its deterministic event id, and its sequence number if the payload has one.

        ``receive_time``: microseconds. Raises :class:`Refused` with a reason.
        """
        device, read, point = self._address(topic)
        sample = read(payload)
        if sample.unit is not None and sample.unit != point.arrives_in:
            raise Refused(f"the unit is {sample.unit[:40]!r}, but {point.name} is configured in {point.arrives_in!r}")
        quality, reason = self._judge(sample, retained, receive_time)
        event_time = receive_time if sample.time is None else sample.time
        record = Telemetry(
            device=device,
            point=point.name,
            value=sample.value,
            unit=point.arrives_in,
            quality=quality,
            reason=reason,
            sequence=sample.sequence or 0,
            event_time=event_time,
            receive_time=receive_time,
        )
        record = self._checks.apply(point, record)
        if sample.time is None and sample.sequence is None:
            return record, f"{topic}/{receive_time}", None
        return record, f"{device}/{point.name}/{sample.time or ''}/{record.sequence}", sample.sequence

    def _find(self, topic: str) -> tuple[str, Callable[[bytes], Sample], Point]:
        for template, subscription, points, read in self._subscriptions:
            names = template.match(topic)
            if names is None:
                continue
            device = subscription.device or names["device"]
            name = subscription.point or names["point"]
            if device not in self._devices:
                raise Refused(f"unknown device {device[:200]!r}; the known ones stand under mqtt.devices")
            if name not in points:
                raise Refused(f"unknown point {name[:200]!r}; the filter {subscription.filter} has {', '.join(points)}")
            return device, read, points[name]
        raise Refused("no filter of the settings matches this topic")

    def _judge(self, sample: Sample, retained: bool, receive_time: int) -> tuple[Quality, str]:
        """The sample's quality as far as this connector can tell, with every reason; it is never made better."""
        quality = sample.quality
        reasons = [sample.reason] if sample.reason else []
        doubts = []
        if sample.time is not None and sample.time - receive_time > self._clock_tolerance:
            ahead = (sample.time - receive_time) / 1e6
            doubts.append(f"the source's time is {ahead:.1f} s ahead of this clock")
        if retained and sample.time is None:
            doubts.append("retained: kept by the broker, and its age is not known")
        elif retained:
            reasons.append("retained")
        if doubts and quality is Quality.GOOD:
            quality = Quality.UNCERTAIN
        return quality, "; ".join(reasons + doubts)
