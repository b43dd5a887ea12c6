"""An edge node for tests and measurements, which can also do what a good one never would: skip a number, or lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from connectors.sparkplug import wire
from connectors.sparkplug.address import NAMESPACE, Node, Verb
from connectors.sparkplug.payload import BDSEQ, REBIRTH, DataType

Metric = dict[str, Any]
"""Fields of a metric as in :mod:`connectors.sparkplug.wire`."""


def encode(seq: int | None, metrics: Iterable[Metric], timestamp: int | None) -> bytes:
    """A payload. ``timestamp``: milliseconds."""
    message = wire.Payload(timestamp=timestamp, seq=seq)
    for metric in metrics:
        message.metrics.add(**metric)
    raw: bytes = message.SerializeToString()
    return raw


def double(name: str | None, value: float | None, *, timestamp: int | None = None, **more: Any) -> Metric:
    """A Double; ``value`` None is null."""
    found = {"name": name, "datatype": int(DataType.Double), "timestamp": timestamp, "double_value": value, **more}
    found["is_null"] = True if value is None else None
    return {key: item for key, item in found.items() if item is not None}


def properties(**texts: str | int) -> Any:
    """A property set of texts and integers, for a metric's ``properties``."""
    found = wire.Payload().metrics.add().properties
    for key, item in texts.items():
        found.keys.append(key)
        if isinstance(item, str):
            found.values.add(type=DataType.String, string_value=item)
        else:
            found.values.add(type=DataType.Int32, int_value=item)
    return found


class EdgeNode:
    """Numbers its messages as the specification wants; ``seq`` and ``bdseq`` may be changed from outside.

    ``publish`` gets topic and payload; ``clock``: milliseconds.
    """

    def __init__(self, node: Node, publish: Callable[[str, bytes], None], clock: Callable[[], int]) -> None:
        self.node = node
        self.seq = 0
        self.bdseq = 0
        self._publish = publish
        self._clock = clock

    def topic(self, verb: Verb, device: str = "") -> str:
        """Where the node says something of itself or a device."""
        return f"{NAMESPACE}/{self.node.group}/{verb}/{self.node.node}" + (f"/{device}" if device else "")

    def birth(self, *metrics: Metric) -> None:
        """NBIRTH, with what every node must have."""
        self.seq = 0
        own = [self._bdseq(), {"name": REBIRTH, "datatype": int(DataType.Boolean), "boolean_value": False}]
        self.say(Verb.NBIRTH, "", [*own, *metrics])

    def death(self) -> bytes:
        """The payload of an NDEATH, for a will."""
        return encode(None, [self._bdseq()], self._clock())

    def say(self, verb: Verb, device: str = "", metrics: Iterable[Metric] = ()) -> None:
        """Any message but an NDEATH, with the next number."""
        self._publish(self.topic(verb, device), encode(self.seq, metrics, self._clock()))
        self.seq = (self.seq + 1) % 256

    def _bdseq(self) -> Metric:
        return {"name": BDSEQ, "datatype": int(DataType.UInt64), "long_value": self.bdseq}
