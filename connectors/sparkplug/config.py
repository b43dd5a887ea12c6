"""Settings of the Sparkplug B host application: broker, edge nodes, devices, and the points wanted."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Self

from pydantic import Field, model_validator

from connectors.checks import Measured
from connectors.fields import Identified, Name, seconds
from connectors.mqtt.broker import Broker
from connectors.sparkplug.address import Node, Scope

Id = Annotated[str, Field(strict=True, min_length=1, max_length=200, pattern=r"^[^/+#\x00]+$")]
"""A group, edge node, device or host id: any text without / + # (Sparkplug 3.0.0, section 4.2)."""


class Point(Measured):
    """One number: the metric that holds it, and our name of it.

    ``name`` may be left out where the metric's name is one of ours. ``eng_unit``: what the metric's property engUnit
    must say, if it says anything, where that is another text than the source's unit. ``select``: the way to the number
    within a metric of several: ``[2]`` in an array, ``[0, "column"]`` in a data set, ``["member"]`` in a template.
    """

    metric: Annotated[str, Field(strict=True, min_length=1, max_length=1000)]
    name: Name
    eng_unit: Annotated[str, Field(strict=True, max_length=100)] | None = None
    select: Annotated[tuple[Annotated[int, Field(strict=True, ge=0)] | str, ...], Field(max_length=4)] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: object) -> object:
        if isinstance(data, dict) and "name" not in data and "metric" in data:
            return {**data, "name": data["metric"]}
        return data


class Device(Identified):
    """An edge node's own metrics, or those of one of its devices.

    ``device`` is left out for the node itself. ``silence``: seconds without any value after which a gap is recorded;
    without it there is none, since a node that has nothing new to say is silent by design.
    """

    name: Name
    group: Id
    node: Id
    device: Id | None = None
    silence: Annotated[int, seconds(least=0.1)] | None = None
    points: Annotated[tuple[Point, ...], Field(min_length=1)]

    @property
    def scope(self) -> Scope:
        """Its Sparkplug address."""
        return Scope(Node(self.group, self.node), self.device or "")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        twice = [name for name, count in Counter(point.name for point in self.points).items() if count > 1]
        if twice:
            raise ValueError(f"points named twice: {', '.join(twice)}")
        return self


class SparkplugConfig(Broker):
    """One broker and what is read from it as host application ``host_id``.

    ``reorder_timeout``: how long a message that is missing may come late before its node is asked for a rebirth.
    ``rebirth_interval``: least time between two such requests to a node; it doubles while they are in vain.
    ``max_payload_bytes`` (unpacked as well) and ``max_metrics`` bound what a single message may take.
    """

    client_id: Annotated[str, Field(strict=True, min_length=1, max_length=200)] = "gridtape-sparkplug"
    host_id: Id
    reorder_timeout: Annotated[int, seconds(least=0, most=60)] = 2_000_000
    rebirth_interval: Annotated[int, seconds(least=0.1, most=3600)] = 10_000_000
    max_payload_bytes: Annotated[int, Field(strict=True, ge=1024, le=67_108_864)] = 1_048_576
    max_metrics: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 20_000
    devices: Annotated[tuple[Device, ...], Field(min_length=1)]

    def problems(self) -> list[str]:
        """What does not fit together; empty when all is well."""
        scopes = Counter(device.scope for device in self.devices)
        twice = [str(scope) for scope, count in scopes.items() if count > 1]
        found = super().problems()
        if twice:
            found.append(f"devices: configured twice: {', '.join(twice)}")
        if any(device.group == "STATE" for device in self.devices):
            found.append("devices: the group id STATE is Sparkplug's own")
        return found
