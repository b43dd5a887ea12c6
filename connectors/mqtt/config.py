"""Settings of the MQTT connector: the broker, the known devices, and what is subscribed and how it is read."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.checks import Measured
from connectors.fields import ExistingFile, Identified, Name, Section, Zone, seconds
from connectors.mqtt import topics
from connectors.mqtt.broker import Broker, Protocol


class PayloadFormat(enum.StrEnum):
    """``number``: a decimal number as text; ``json``, ``cbor``, ``protobuf``: a document with one sample;
    ``raw``: the bytes of a number."""

    NUMBER = "number"
    JSON = "json"
    CBOR = "cbor"
    PROTOBUF = "protobuf"
    RAW = "raw"


class RawType(enum.StrEnum):
    """Width and kind of a raw number."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class TimeFormat(enum.StrEnum):
    """How a JSON payload writes its time: ISO 8601 with zone, or seconds, milliseconds, microseconds since 1970."""

    ISO8601 = "iso8601"
    S = "s"
    MS = "ms"
    US = "us"


def _steps(path: Any) -> Any:
    return tuple(path.split(".")) if isinstance(path, str) else path


def _whole(path: tuple[str, ...]) -> tuple[str, ...]:
    if "" in path:
        raise ValueError("a path is keys joined by dots, for example value or data.0.value")
    return path


Path = Annotated[
    tuple[Annotated[str, Field(strict=True, max_length=500)], ...],
    Field(min_length=1, max_length=50),
    BeforeValidator(_steps),
    AfterValidator(_whole),
]
"""Where something stands in a document, step by step. Within a list a step is a place, or ``key=text``: the first
object in the list whose ``key`` says so. Written as text joined by dots, or as a list where keys have dots in them."""


Word = Annotated[str, Field(strict=True, max_length=200)]


def _template(text: str) -> str:
    topics.parse(text)
    return text


class JsonPaths(Section):
    """Where a JSON, CBOR or Protobuf document keeps the sample.

    ``value``, and ``time`` and ``sequence`` once they are named here, must be in every payload. ``quality`` (good,
    uncertain, bad, true, false) and ``unit`` may be missing. A ``unit`` that differs from the point's is refused.
    Where points have paths of their own, time, sequence, quality and unit are those of all of them. ``zone``: of ISO
    8601 times that name none.
    """

    value: Path = ("value",)
    time: Path | None = None
    time_format: TimeFormat = TimeFormat.ISO8601
    zone: Zone | None = None
    sequence: Path | None = None
    quality: Path | None = None
    unit: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.zone is not None and (self.time is None or self.time_format is not TimeFormat.ISO8601):
            raise ValueError('zone is for times as text: it needs time, and time_format = "iso8601"')
        return self


class Protobuf(Section):
    """``descriptor_file``: a descriptor set, as ``protoc --include_imports --descriptor_set_out`` writes it.

    ``message``: the full name of the payload's message in it.
    """

    descriptor_file: ExistingFile
    message: Annotated[str, Field(strict=True, min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _holds_it(self) -> Self:
        from connectors.mqtt.descriptors import message_class  # loads protobuf: who does not use it need not have it

        message_class(self.descriptor_file, self.message)
        return self


class Raw(Section):
    """A number of ``type`` that begins ``offset`` bytes into the payload."""

    type: RawType
    byte_order: Literal["big", "little"] = "big"
    offset: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 0


class Point(Measured):
    """One point, by its name in the topic or by the path of its ``value`` in a document that has several."""

    name: Name
    value: Path | None = None


class _Filtered(Section):
    """What is known of a device's messages by their topics."""

    filter: Annotated[str, Field(strict=True), AfterValidator(_template)]
    device: Name | None = None

    @cached_property
    def template(self) -> topics.Template:
        """The parsed filter."""
        return topics.parse(self.filter)

    def _named_once(self, name: str, fixed: str | None) -> list[str]:
        if (name in self.template.names) != (fixed is not None):
            return []
        return [f"the filter must hold {{{name}}}, or else {name} must be set: one of both, not both"]


class Subscription(_Filtered):
    """One topic filter with named levels, how its payloads are read, and the points that it may bring.

    A filter without ``{device}`` needs ``device``, one without ``{point}`` needs ``point``, or a ``value`` of each
    point. ``each``: where a payload has a list of documents, each read as if it had come alone. Of filters that match
    the same topic the first in the file reads it.
    """

    point: Name | None = None
    payload: PayloadFormat = PayloadFormat.JSON
    json_paths: JsonPaths = Field(default=JsonPaths(), alias="json")
    each: Path | None = None
    protobuf: Protobuf | None = None
    raw: Raw | None = None
    points: Annotated[tuple[Point, ...], Field(min_length=1)]

    @cached_property
    def several(self) -> bool:
        """Whether a payload may have values of several points."""
        return any(point.value is not None for point in self.points)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = self._named_once("device", self.device)
        problems += self._of_several() if self.several else self._named_once("point", self.point)
        if twice := _repeated(point.name for point in self.points):
            problems.append(f"points named twice: {', '.join(twice)}")
        if self.point is not None and self.point not in {point.name for point in self.points}:
            problems.append(f"point {self.point!r} is not among the points")
        has_paths = self.json_paths != JsonPaths() or self.each is not None
        if has_paths and self.payload in (PayloadFormat.NUMBER, PayloadFormat.RAW):
            problems.append('json paths and each need payload = "json", "cbor" or "protobuf"')
        if self.each is not None and self.json_paths.time is None:
            problems.append("each needs json.time: without times of their own the documents of a list are all of now")
        for name, found in (("protobuf", self.protobuf), ("raw", self.raw)):
            if (self.payload == name) != (found is not None):
                problems.append(f'payload = "{name}" and a section {name} belong together')
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _of_several(self) -> list[str]:
        problems = []
        if "point" in self.template.names or self.point is not None:
            problems.append("points with a value of their own are named by it: neither {point} in the filter nor point")
        if missing := [point.name for point in self.points if point.value is None]:
            problems.append(f"each point needs the path of its value, or none: {', '.join(missing)} have none")
        if self.payload in (PayloadFormat.NUMBER, PayloadFormat.RAW):
            problems.append('points with a value of their own need payload = "json", "cbor" or "protobuf"')
        if "value" in self.json_paths.model_fields_set:
            problems.append("json.value is for filters with one value in a payload: the points say where theirs stand")
        return problems


class Status(_Filtered):
    """What says whether a device is there: its last will, and what it publishes when it has connected.

    A filter without ``{device}`` needs ``device``. ``online`` and ``offline``: the texts that say so, capitals as they
    are. ``path``: where the text stands in a JSON document; left out: the payload is the text.
    """

    path: Path | None = None
    online: Annotated[tuple[Word, ...], Field(min_length=1)] = ("online",)
    offline: Annotated[tuple[Word, ...], Field(min_length=1)] = ("offline",)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = self._named_once("device", self.device)
        if "point" in self.template.names:
            problems.append("the filter holds {point}, but a status is the device's; put + there")
        if both := sorted(set(self.online) & set(self.offline)):
            problems.append(f"{', '.join(both)} cannot mean both online and offline")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Device(Identified):
    """A device that may send. ``silence``: seconds without any of its messages after which a gap is recorded."""

    name: Name
    silence: Annotated[int, seconds(least=0.1)] = 30_000_000


class MqttConfig(Broker):
    """One broker and what is read from it.

    ``client_id`` must stay the same: it names the session in which the broker keeps what was not acknowledged, for
    ``session_expiry`` seconds. ``share``: connectors with the same share, and each its own ``client_id``, divide the
    messages among them (MQTT 5). No one of them sees all of a device, so that none can tell that something is missing:
    gaps are not recorded. What a ``status`` filter brings is read as that only; each of them sees all of it.
    """

    session_expiry: Annotated[int, seconds(least=1, most=31_536_000)] = 86_400_000_000
    share: Annotated[str, Field(strict=True, pattern=r"^[^/+#\x00]+$", max_length=200)] | None = None
    devices: Annotated[tuple[Device, ...], Field(min_length=1)]
    subscriptions: Annotated[tuple[Subscription, ...], Field(min_length=1)]
    status: tuple[Status, ...] = ()

    def problems(self) -> list[str]:
        """What does not fit together; empty when all is well."""
        problems = super().problems()
        if self.share is not None and self.protocol is not Protocol.V5:
            problems.append('share: shared subscriptions need protocol = "5"')
        known = {device.name for device in self.devices}
        both: tuple[tuple[str, Sequence[Subscription | Status]], ...] = (
            ("subscriptions", self.subscriptions),
            ("status", self.status),
        )
        for section, filters in both:
            if twice := _repeated(one.filter for one in filters):
                problems.append(f"{section}: filters that stand twice: {', '.join(twice)}")
            problems += [
                f"{section}[{place}].device: {one.device!r} is not among the devices"
                for place, one in enumerate(filters)
                if one.device is not None and one.device not in known
            ]
        return problems


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
