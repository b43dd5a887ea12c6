"""THE wiring: who reads and writes which topic. The whole system on one screen.

field devices ─ connectors ─▶ telemetry, gaps ─▶ observations ─▶ triggers ─▶ alerts
market ─────── connectors ─▶ ticks, gaps ──────▲      │              └▶ intents ─▶ arrival ─▶ gate ─▶ orders
                               │                                                          ▲    └▶ rejections
                               └▶ positions ─▶ limits ─▶ exposures ───────────────────────┘         │
                                    ▲              └▶ alerts                                        ▼
                                    └──────────────── fills ◀──────────────────────────────────── venue
"""

from __future__ import annotations

from typing import Any

from processors.arrival import Arrival
from processors.gate import Gate
from processors.limits import Limits
from processors.observations import Observations
from processors.positions import Positions
from processors.processor import Processor
from processors.triggers import Triggers
from schemas import topics as t
from schemas.topics import Topic
from streams.engine.layout import TopicSpec, changelog_of

Topics = tuple[Topic[Any], ...]

PROCESSORS: tuple[type[Processor], ...] = (Positions, Limits, Observations, Triggers, Arrival, Gate)
"""Each declares what it reads and writes; see its module."""

CONNECTORS: dict[str, Topics] = {
    "mqtt": (t.telemetry, t.gaps, t.devices, t.dead_letters),
    "sparkplug": (t.telemetry, t.gaps, t.devices, t.dead_letters),
    "modbus": (t.telemetry, t.gaps, t.devices, t.dead_letters),
    "opcua": (t.telemetry, t.events, t.gaps, t.devices, t.dead_letters),
    "market": (t.ticks, t.gaps, t.dead_letters),
    "recorded": (t.ticks, t.gaps, t.devices, t.dead_letters),
    "websocket": (t.ticks, t.gaps, t.books, t.devices, t.dead_letters),
    "fix": (t.ticks, t.gaps, t.books, t.devices, t.dead_letters),
    "drop-copy": (t.fills, t.gaps, t.devices, t.dead_letters),
}
"""What comes in: connector and the topics it writes."""

CONFIGURING: Topics = (t.device_settings,)
"""What the process of the connectors reads: which devices it is to run, and how."""

SINKS: dict[str, tuple[Topics, Topics]] = {
    "webhook": ((t.alerts,), (t.dead_letters,)),
    "terminal": ((t.alerts,), (t.dead_letters,)),
    "redis": ((t.alerts, t.orders, t.fills, t.rejections), (t.dead_letters,)),
    "venue": ((t.orders, t.ticks), (t.fills, t.dead_letters)),
    "parquet": ((t.alerts, t.orders, t.fills, t.rejections), (t.dead_letters,)),
}
"""What leaves: sink, the topics it reads and those it writes."""

OPERATOR: Topics = (t.instruments, t.limits, t.rules, t.control, t.fills, t.writes, t.device_settings)
"""What people publish (`gridtape publish`, `kill-switch`, `modbus write`), and fills from other systems."""


def layout(partitions: int) -> list[TopicSpec]:
    """Every topic with its settings: all with the same partition count, since tasks own partitions by number."""
    specs = [TopicSpec(topic.name, partitions, config(topic)) for topic in t.ALL]
    changelog = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2"}
    return specs + [TopicSpec(changelog_of(p.name), partitions, changelog) for p in PROCESSORS]


def config(topic: Topic[Any]) -> dict[str, str]:
    """Broker settings of a topic. On a compacted one an overwritten record stays readable for its retention; where that
    is short the broker must close files sooner than in its 7 days, since it never compacts the one it writes to."""
    if topic.compacted:
        lag = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(topic.retention_ms)}
        return lag | ({"segment.ms": str(topic.retention_ms)} if topic.retention_ms < t.DAYS else {})
    return {"cleanup.policy": "delete", "retention.ms": str(topic.retention_ms)}


def writers(topic: Topic[Any]) -> list[str]:
    """Who writes a topic. The engine keeps the journal and sets poison records aside for every processor."""
    if topic in (t.journal, t.dead_letters):
        return ["every processor"] if topic is t.journal else ["every process"]
    found = [f"connectors/{name}" for name, written in CONNECTORS.items() if topic in written]
    found += [f"processors/{p.name}" for p in PROCESSORS if topic in p.writes]
    found += [f"sinks/{name}" for name, (_, written) in SINKS.items() if topic in written]
    return found + (["operator"] if topic in OPERATOR else [])


def readers(topic: Topic[Any]) -> list[str]:
    """Who reads a topic."""
    found = ["every connector"] if topic in CONFIGURING else []
    found += [f"processors/{p.name}" for p in PROCESSORS if topic in p.reads]
    return found + [f"sinks/{name}" for name, (read, _) in SINKS.items() if topic in read]
