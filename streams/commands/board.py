"""What the live view knows: the newest record of everything, and the last decisions. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from schemas import topics
from schemas.alerts import Alert
from schemas.control import KillSwitch
from schemas.dead_letters import DeadLetter
from schemas.devices import Device
from schemas.exposures import Exposure
from schemas.fills import Fill
from schemas.gaps import Feed, Gap
from schemas.instruments import Instrument
from schemas.orders import Order
from schemas.positions import Position
from schemas.rejections import Rejection
from schemas.rules import Rule
from schemas.telemetry import Telemetry
from schemas.ticks import Tick
from schemas.topics import Topic

KEPT = 100
"""Alerts and trades that are remembered."""
RATE_SECONDS = 5.0

CLOSED_IN_WORDS = (Feed.FILLS, Feed.EVENTS)
"""Feeds whose next record says nothing of what is missing: only the gap's own closing does."""

Trade = Order | Fill | Rejection


class Board:
    """The state of the screen. Records may come in any order of topics; an older one never replaces a newer one."""

    def __init__(self) -> None:
        self.ticks: dict[str, Tick] = {}
        self.telemetry: dict[tuple[str, str], Telemetry] = {}
        self.gaps: dict[tuple[Feed, str, str], Gap] = {}
        """Newest open gap per feed, key and point. Of ticks and telemetry newer data ends it, not its closing."""
        self.devices: dict[str, Device] = {}
        self.rules: dict[str, Rule] = {}
        self.positions: dict[tuple[str, str], Position] = {}
        self.exposures: dict[tuple[str, str], Exposure] = {}
        self.instruments: dict[str, Instrument] = {}
        self.switches: dict[str, KillSwitch] = {}
        self.alerts: deque[Alert] = deque(maxlen=KEPT)
        """Oldest first."""
        self.trades: deque[Trade] = deque(maxlen=KEPT)
        """Oldest first."""
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        """Records taken, by topic name."""
        self._marks: deque[tuple[int, int]] = deque()
        self._take: dict[Topic[Any], Callable[[Any], None]] = {
            topics.ticks: self._tick,
            topics.telemetry: self._sample,
            topics.gaps: self._gap,
            topics.devices: lambda r: _newer(self.devices, r.device, r),
            topics.rules: lambda r: _newer(self.rules, r.rule_id, r),
            topics.positions: lambda r: _newer(self.positions, (r.book, r.instrument), r),
            topics.exposures: lambda r: _newer(self.exposures, (r.book, r.currency), r),
            topics.instruments: lambda r: _newer(self.instruments, r.instrument, r),
            topics.control: lambda r: _newer(self.switches, r.scope, r),
            topics.alerts: self.alerts.append,
            topics.orders: self.trades.append,
            topics.fills: self.trades.append,
            topics.rejections: self.trades.append,
            topics.dead_letters: self.dead_letters.append,
        }

    def take(self, topic: Topic[Any], record: Any) -> None:
        """Take a record of any topic."""
        self.counts[topic.name] += 1
        if handler := self._take.get(topic):
            handler(record)

    def unknown_tick(self, instrument: str) -> Gap | None:
        """The open gap after which no tick of the instrument was received; None when its newest tick can be trusted."""
        tick, gap = self.ticks.get(instrument), self.gaps.get((Feed.TICKS, instrument, ""))
        return gap if gap and (tick is None or gap.receive_time > tick.receive_time) else None

    def unknown_sample(self, device: str, point: str) -> Gap | None:
        """As :meth:`unknown_tick`, of a point; a gap of the whole device counts for each of its points."""
        sample = self.telemetry.get((device, point))
        for name in (point, ""):
            gap = self.gaps.get((Feed.TELEMETRY, device, name))
            if gap and (sample is None or gap.receive_time > sample.receive_time):
                return gap
        return None

    def ticks_per_second(self, now: int) -> float:
        """Ticks taken in the last seconds before ``now`` (microseconds); asked for at every drawing."""
        total = self.counts[topics.ticks.name]
        self._marks.append((now, total))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_SECONDS * 1e6:
            self._marks.popleft()
        first, before = self._marks[0]
        return (total - before) * 1e6 / (now - first) if now > first else 0.0

    def engaged(self) -> list[KillSwitch]:
        """The switches that stop trading now."""
        return [switch for _, switch in sorted(self.switches.items()) if switch.engaged]

    def _tick(self, tick: Tick) -> None:
        known = self.ticks.get(tick.instrument)
        if known is None or tick.event_time >= known.event_time:
            self.ticks[tick.instrument] = tick

    def _sample(self, sample: Telemetry) -> None:
        known = self.telemetry.get((sample.device, sample.point))
        if known is None or sample.event_time >= known.event_time:
            self.telemetry[sample.device, sample.point] = sample

    def _gap(self, gap: Gap) -> None:
        key = (gap.feed, gap.key, gap.point or "")
        known = self.gaps.get(key)
        if gap.open and (known is None or gap.receive_time >= known.receive_time):
            self.gaps[key] = gap
        elif gap.feed in CLOSED_IN_WORDS and known is not None and known.gap_id == gap.gap_id:
            del self.gaps[key]


def _newer(held: dict[Any, Any], key: object, record: Any) -> None:
    """Broadcast records come once from each partition; the order among partitions is not that of the writer."""
    if key not in held or record.receive_time >= held[key].receive_time:
        held[key] = record
