"""A processor that uses all that a processor may: tables, both clocks, both ways of writing, rejection, failure."""

from __future__ import annotations

from processors.processor import Batch, Emitter, Processor, State
from schemas import topics
from schemas.base import Side
from schemas.control import KillSwitch
from schemas.fills import Fill
from schemas.telemetry import Telemetry
from schemas.ticks import Tick

BROKEN = 1313
"""A tick with this sequence makes the processor fail."""
REFUSED = 1212
"""A tick with this sequence is rejected."""
PAUSE = 1_000_000
"""Microseconds of silence after which an instrument is told to be silent."""


class Deciding(Processor):
    """Counts ticks and fills of each instrument, and says for each under which switch it was decided."""

    name = "deciding"
    reads = (topics.ticks, topics.fills, topics.control)
    writes = (topics.telemetry, topics.observations)
    counts = State(int)
    switch = State(KillSwitch)

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        for i, record in enumerate(batch.values):
            if isinstance(record, KillSwitch):
                self.switch.put(record.scope, record)
                continue
            if isinstance(record, Tick) and record.sequence == REFUSED:
                batch.reject(i, "refused on purpose")
                continue
            if isinstance(record, Tick) and record.sequence == BROKEN:
                raise ArithmeticError("broken on purpose")
            name = record.instrument
            count = (self.counts.get(name) or 0) + 1
            self.counts.put(name, count)
            switch = self.switch.get("all")
            point = "fills" if isinstance(record, Fill) else "ticks"
            self.say(out, name, point, count, 0 if switch is None else switch.version, record.event_time)
            self.timers.at_event(name, record.event_time + PAUSE)
            if isinstance(record, Fill) and record.side is Side.SELL:
                self.timers.at_wall(f"{name}|wall", record.event_time + PAUSE)

    def on_time(self, key: str, now: int, out: Emitter) -> None:
        name, _, clock = key.partition("|")
        self.say(out, name, clock or "event", self.counts.get(name) or 0, 0, now)

    def say(self, out: Emitter, name: str, point: str, count: int, version: int, time: int) -> None:
        record = Telemetry(
            device=name,
            point=point,
            value=float(count),
            unit="1",
            sequence=version,
            event_time=time,
            receive_time=time,
        )
        out.append(topics.telemetry, name, record, event_id=f"{name}-{point}-{count}-{version}")
