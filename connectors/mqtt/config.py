"""Settings of the MQTT connector: the broker, the known devices, and what is subscribed and how it is read."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from connectors.checks import Measured
from connectors.fields import Identified, Name, Section, seconds
from connectors.mqtt import topics
from connectors.mqtt.broker import Broker


class PayloadFormat(enum.StrEnum):
    """``number``: a decimal number as text; ``json``: a JSON document with one sample."""

    NUMBER = "number"
    JSON = "json"


class TimeFormat(enum.StrEnum):
    """How a JSON payload writes its time: ISO 8601 with zone, or seconds, milliseconds, microseconds since 1970."""

    ISO8601 = "iso8601"
    S = "s"
    MS = "ms"
    US = "us"


def _path(text: str) -> str:
    if "" in text.split("."):
        raise ValueError("a path is keys joined by dots, for example value or data.0.value")
    return text


Path = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_path)]


def _template(text: str) -> str:
    topics.parse(text)
    return text


class JsonPaths(Section):
    """Where a JSON payload keeps the sample: keys and list places joined by dots.

    ``value``, and ``time`` and ``sequence`` once they are named here, must be in every payload. ``quality`` (good,
    uncertain, bad, true, false) and ``unit`` may be missing. A ``unit`` that differs from the point's is refused.
    """

    value: Path = "value"
    time: Path | None = None
    time_format: TimeFormat = TimeFormat.ISO8601
    sequence: Path | None = None
    quality: Path | None = None
    unit: Path | None = None


class Point(Measured):
    """One point and its name in the topic."""

    name: Name


class Subscription(Section):
    """One topic filter with named levels, how its payloads are read, and the points that it may bring.

    A filter without ``{device}`` needs ``device``, one without ``{point}`` needs ``point``. Of filters that match the
    same topic the first in the file reads it.
    """

    filter: Annotated[str, Field(strict=True), AfterValidator(_template)]
    device: Name | None = None
    point: Name | None = None
    payload: PayloadFormat = PayloadFormat.JSON
    json_paths: JsonPaths = Field(default=JsonPaths(), alias="json")
    points: Annotated[tuple[Point, ...], Field(min_length=1)]

    @cached_property
    def template(self) -> topics.Template:
        """The parsed filter."""
        return topics.parse(self.filter)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        for name, fixed in (("device", self.device), ("point", self.point)):
            if (name in self.template.names) == (fixed is not None):
                problems.append(f"the filter must hold {{{name}}}, or else {name} must be set: one of both, not both")
        if twice := _repeated(point.name for point in self.points):
            problems.append(f"points named twice: {', '.join(twice)}")
        if self.point is not None and self.point not in {point.name for point in self.points}:
            problems.append(f"point {self.point!r} is not among the points")
        if self.payload is PayloadFormat.NUMBER and self.json_paths != JsonPaths():
            problems.append('json paths need payload = "json"')
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
    ``session_expiry`` seconds.
    """

    session_expiry: Annotated[int, seconds(least=1, most=31_536_000)] = 86_400_000_000
    devices: Annotated[tuple[Device, ...], Field(min_length=1)]
    subscriptions: Annotated[tuple[Subscription, ...], Field(min_length=1)]

    def problems(self) -> list[str]:
        """What does not fit together; empty when all is well."""
        problems = super().problems()
        if twice := _repeated(one.filter for one in self.subscriptions):
            problems.append(f"subscriptions: filters that stand twice: {', '.join(twice)}")
        known = {device.name for device in self.devices}
        problems += [
            f"subscriptions[{place}].device: {one.device!r} is not among the devices"
            for place, one in enumerate(self.subscriptions)
            if one.device is not None and one.device not in known
        ]
        return problems


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]
