"""From an MQTT message to telemetry records, or to the reason why it cannot become any. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from connectors.checks import Checks
from connectors.mqtt import binary
from connectors.mqtt.config import MqttConfig, PayloadFormat, Point, Status, Subscription
from connectors.mqtt.payload import (
    Refused,
    Sample,
    find,
    listed,
    read_json,
    read_number,
    read_sample,
    read_samples,
    words,
)
from schemas.base import Quality
from schemas.telemetry import Telemetry

_TOPICS = 10_000  # whose device and point are remembered; a broker may have any number
_REASONS = 5  # of a payload that are told
Parts = list[tuple[Point, Sample | Refused]]


class Said(NamedTuple):
    """What one document says. ``records``: each with its deterministic event id. ``sequence`` counts what comes of
    ``point``; None: the documents that the filter ``counter`` brings."""

    point: str | None
    counter: str
    sequence: int | None
    records: list[tuple[Telemetry, str]]


class Translated(NamedTuple):
    """What one message says: its documents in order, and why some of it cannot become a record; empty: all can."""

    device: str
    said: list[Said]
    refused: str


class Stated(NamedTuple):
    """What a device says of itself, or the broker in its place: its words, and whether they mean that it is there."""

    device: str
    words: str
    online: bool


def _document(one: Subscription) -> Callable[[bytes], Any]:
    if one.protobuf is not None:
        return binary.protobuf_reader(one.protobuf)
    return binary.read_cbor if one.payload is PayloadFormat.CBOR else read_json


def _documents(one: Subscription) -> Callable[[bytes], list[Any]]:
    """What takes payloads apart; a plain number is the only document of its payload."""
    if one.payload in (PayloadFormat.NUMBER, PayloadFormat.RAW):
        return lambda raw: [raw]
    read, each = _document(one), one.each
    return (lambda raw: [read(raw)]) if each is None else (lambda raw: listed(read(raw), each))


def _value(one: Subscription) -> Callable[[Any], Sample]:
    """What reads documents with one value."""
    if one.raw is not None:
        return binary.raw_reader(one.raw)
    return read_number if one.payload is PayloadFormat.NUMBER else partial(read_sample, paths=one.json_paths)


def _values(one: Subscription) -> Callable[[Any], Parts]:
    """What reads documents with values of several points."""
    each = [(point, one.json_paths.model_copy(update={"value": point.value})) for point in one.points]
    return lambda document: read_samples(document, each)


def _alone(point: Point, read: Callable[[Any], Sample]) -> Callable[[Any], Parts]:
    return lambda document: [(point, read(document))]


def _nearer(sample: Sample, again: int, receive_time: int) -> Sample:
    """With the one of its two times that is nearer to its arrival."""
    time = min(sample.time or again, again, key=lambda one: abs(one - receive_time))
    doubt = "its time comes twice, as the clocks are put back: taken is the one nearer to its arrival"
    quality = Quality.UNCERTAIN if sample.quality is Quality.GOOD else sample.quality
    reason = "; ".join(text for text in (sample.reason, doubt) if text)
    return msgspec.structs.replace(sample, time=time, again=None, quality=quality, reason=reason)


def _together(reasons: list[str]) -> str:
    """One reason of many, for one dead letter: a payload can be wrong in a thousand places."""
    told = "; ".join(reasons[:_REASONS])
    return f"{told}; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else told


class _Route(NamedTuple):
    """What a topic brings, and how it is read. ``counter``: the filter, if its documents have several values."""

    device: str
    counter: str
    documents: Callable[[bytes], list[Any]]
    read: Callable[[Any], Parts]


class Translator:
    """Knows the filters, devices and points of one configuration."""

    def __init__(self, config: MqttConfig) -> None:
        self._clock_tolerance = config.clock_tolerance
        self._checks = Checks()
        self._devices = {device.name for device in config.devices}
        self._subscriptions = [(one, _documents(one), _value(one)) for one in config.subscriptions]
        self._status = config.status
        self._address = lru_cache(_TOPICS)(self._find)
        self._states = lru_cache(_TOPICS)(self._stating)

    def stated(self, topic: str, payload: bytes) -> Stated | None:
        """Whether the device is there, from a topic that says only that; None: it is a topic of values.

        Raises :class:`Refused` with a reason.
        """
        found = self._states(topic) if self._status else None
        if found is None:
            return None
        status, device = found
        self._known(device)
        if status.path is None:
            said = payload[:1000].decode("utf-8", "backslashreplace")
        else:
            said = words(find(read_json(payload), status.path))
        if said in status.online or said in status.offline:
            return Stated(device, said, said in status.online)
        allowed = ", ".join(map(repr, (*status.online, *status.offline)))
        raise Refused(
            f"the status is {said[:60]!r}, which is none of {allowed}; "
            f"if it means one of them, name it with the status filter {status.filter}"
        )

    def translate(self, topic: str, payload: bytes, *, retained: bool, receive_time: int) -> Translated:
        """What a message of any other topic says. ``receive_time``: microseconds.

        Raises :class:`Refused` with a reason when nothing of it can become a record.
        """
        route = self._address(topic)
        said: list[Said] = []
        refused: list[str] = []
        for document in route.documents(payload):
            try:
                parts = route.read(document)
            except Refused as reason:
                refused.append(str(reason))
                continue
            if found := self._said(topic, route, parts, refused, retained, receive_time):
                said.append(found)
        if not said:
            raise Refused(_together(refused) or "there is no document in the list")
        return Translated(route.device, said, _together(refused))

    def _said(
        self, topic: str, route: _Route, parts: Parts, refused: list[str], retained: bool, receive_time: int
    ) -> Said | None:
        records: list[tuple[Telemetry, str]] = []
        sequence: int | None = None
        for point, sample in parts:
            if isinstance(sample, Refused):
                refused.append(f"{point.name}: {sample}")
                continue
            if sample.unit is not None and sample.unit != point.arrives_in:
                refused.append(
                    f"the unit is {sample.unit[:40]!r}, but {point.name} is configured in {point.arrives_in!r}"
                )
                continue
            if sample.again is not None:
                sample = _nearer(sample, sample.again, receive_time)
            sequence = sample.sequence
            record = self._record(route.device, point, sample, retained, receive_time)
            if sample.time is None and sequence is None:
                records.append((record, f"{topic}/{receive_time}" + (f"/{point.name}" if route.counter else "")))
            else:
                records.append((record, f"{route.device}/{point.name}/{sample.time or ''}/{record.sequence}"))
        if not records:
            return None
        return Said(None if route.counter else records[0][0].point, route.counter, sequence, records)

    def _record(self, device: str, point: Point, sample: Sample, retained: bool, receive_time: int) -> Telemetry:
        quality, reason = self._judge(sample, retained, receive_time)
        record = Telemetry(
            device=device,
            point=point.name,
            value=sample.value,
            unit=point.arrives_in,
            quality=quality,
            reason=reason,
            sequence=sample.sequence or 0,
            event_time=receive_time if sample.time is None else sample.time,
            receive_time=receive_time,
        )
        return self._checks.apply(point, record)

    def _find(self, topic: str) -> _Route:
        for subscription, documents, value in self._subscriptions:
            names = subscription.template.match(topic)
            if names is None:
                continue
            device = subscription.device or names["device"]
            self._known(device)
            if subscription.several:
                return _Route(device, subscription.filter, documents, _values(subscription))
            name = subscription.point or names["point"]
            point = next((one for one in subscription.points if one.name == name), None)
            if point is None:
                known = ", ".join(one.name for one in subscription.points)
                raise Refused(f"unknown point {name[:200]!r}; the filter {subscription.filter} has {known}")
            return _Route(device, "", documents, _alone(point, value))
        raise Refused("no filter of the settings matches this topic")

    def _stating(self, topic: str) -> tuple[Status, str] | None:
        for status in self._status:
            names = status.template.match(topic)
            if names is not None:
                return status, status.device or names["device"]
        return None

    def _known(self, device: str) -> None:
        if device not in self._devices:
            raise Refused(f"unknown device {device[:200]!r}; the known ones stand under mqtt.devices")

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
