"""Every topic: its record, its key, how long it is kept. The wiring is in streams/pipeline.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from schemas.alerts import Alert
from schemas.base import Record
from schemas.books import Book
from schemas.control import KillSwitch
from schemas.dead_letters import DeadLetter
from schemas.device_settings import DeviceSettings
from schemas.devices import Device
from schemas.events import Event
from schemas.exposures import Exposure
from schemas.fills import Fill
from schemas.gaps import Gap
from schemas.instruments import Instrument
from schemas.intents import Intent, PricedIntent
from schemas.journal import Journal
from schemas.limits import Limit
from schemas.observations import Observation
from schemas.orders import Order
from schemas.positions import Position
from schemas.rejections import Rejection
from schemas.rules import Rule
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from schemas.writes import Write

R = TypeVar("R", bound=Record)
HOURS = 3_600_000
DAYS = 24 * HOURS
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, eq=False)
class Topic(Generic[R]):
    """One topic and its contract.

    ``key``: what the message key holds, parts joined by ``|``; the first part decides the partition and addresses the
    state. ``retention_ms``: how long a record is kept; on a ``compacted`` topic, how long an overwritten record can
    still be opened (min.compaction.lag.ms), since evidence points at it. ``broadcast``: the publisher writes each
    record into every partition, so that every task reads it. ``urgent``: a record waiting here is committed at once.
    """

    name: str
    record: type[R]
    key: str
    retention_ms: int
    compacted: bool = False
    broadcast: bool = False
    urgent: bool = False
    kind: str = field(init=False, repr=False)
    """The record's name in CloudEvents types: ``PricedIntent`` gives ``priced-intent``."""
    decode: Callable[[bytes], R] = field(init=False, repr=False)
    encode: Callable[[Any], bytes] = field(init=False, repr=False, default=_encoder.encode)

    def __post_init__(self) -> None:
        """Build the decoder once; its bound method is what the hot loop maps over."""
        name = self.record.__name__
        kind = "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "decode", msgspec.json.Decoder(self.record).decode)


telemetry = Topic("telemetry", Telemetry, "device", 7 * DAYS)
ticks = Topic("ticks", Tick, "instrument", 7 * DAYS)
gaps = Topic("gaps", Gap, "instrument or device", 7 * DAYS)
devices = Topic("devices", Device, "device", 1 * HOURS, compacted=True)
events = Topic("events", Event, "device", 90 * DAYS)
device_settings = Topic("device-settings", DeviceSettings, "process|device", 3650 * DAYS, compacted=True)
books = Topic("books", Book, "instrument", 1 * DAYS)
fills = Topic("fills", Fill, "instrument", 3650 * DAYS)
positions = Topic("positions", Position, "book|instrument", 7 * DAYS, compacted=True)
exposures = Topic("exposures", Exposure, "book|currency", 7 * DAYS, compacted=True)
observations = Topic("observations", Observation, "rule|operand", 7 * DAYS)
instruments = Topic("instruments", Instrument, "instrument", 7 * DAYS, compacted=True, broadcast=True)
limits = Topic("limits", Limit, "limit", 3650 * DAYS, compacted=True, broadcast=True)
rules = Topic("rules", Rule, "rule", 3650 * DAYS, compacted=True, broadcast=True)
writes = Topic("writes", Write, "device", 3650 * DAYS)
control = Topic("control", KillSwitch, "scope", 3650 * DAYS, compacted=True, broadcast=True)
alerts = Topic("alerts", Alert, "book or rule", 3650 * DAYS, urgent=True)
intents = Topic("intents", Intent, "instrument", 3650 * DAYS, urgent=True)
priced_intents = Topic("priced-intents", PricedIntent, "book", 3650 * DAYS, urgent=True)
orders = Topic("orders", Order, "instrument", 3650 * DAYS, urgent=True)
rejections = Topic("rejections", Rejection, "instrument", 3650 * DAYS, urgent=True)
dead_letters = Topic("dead-letters", DeadLetter, "application", 30 * DAYS)
journal = Topic("journal", Journal, "application|partition", 30 * DAYS)

ALL: tuple[Topic[Any], ...] = (
    telemetry,
    ticks,
    gaps,
    devices,
    events,
    device_settings,
    books,
    fills,
    positions,
    exposures,
    observations,
    instruments,
    limits,
    rules,
    control,
    writes,
    alerts,
    intents,
    priced_intents,
    orders,
    rejections,
    dead_letters,
    journal,
)
BY_NAME: dict[str, Topic[Any]] = {topic.name: topic for topic in ALL}
