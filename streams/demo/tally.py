"""What the demonstration has shown so far, and whether that was all of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from schemas import topics
from schemas.alerts import AlertKind
from schemas.exposures import LimitState
from schemas.topics import Topic

PROTOCOLS = ("mqtt", "modbus", "opcua")
EXPECTED = (
    "ticks",
    *(f"telemetry over {protocol}" for protocol in PROTOCOLS),
    "position changes",
    "breaches",
    "triggers",
    "orders",
    "fills",
    "rejections",
)
"""Each must have happened at least once for the demonstration to have worked."""


class Tally:
    """Counts the records of one run by what they show. ``since``: when the run began, microseconds."""

    def __init__(self, since: int) -> None:
        self._since = since
        self.seen: Counter[str] = Counter()
        self.first_alert: str | None = None
        self.last_alert: str | None = None
        self._fills: dict[str, int] = {}

    def take(self, topic: Topic[Any], key: str, record: Any, source: str) -> None:
        """Count one record; ``source`` is its ``ce_source``."""
        if topic is topics.telemetry:
            self.seen[f"telemetry over {source.rsplit('/', 1)[-1]}"] += 1
        elif topic is topics.positions:
            before = self._fills.get(key)
            self._fills[key] = record.fills
            changed = before is not None and record.fills > before
            self.seen["position changes"] += changed and record.receive_time >= self._since
        elif topic is topics.exposures and record.receive_time >= self._since:
            # What was breached when the run before it ended still is: nothing opens it a second time.
            breached = sum(use.state in (LimitState.SOFT, LimitState.HARD) for use in record.limits)
            self.seen["breaches"] = max(self.seen["breaches"], breached)
        elif topic is topics.alerts:
            self.first_alert = self.first_alert or record.alert_id
            self.last_alert = record.alert_id
            self.seen["breaches"] += record.kind is AlertKind.BREACH_OPENED
            self.seen["triggers"] += record.kind is AlertKind.RULE_FIRED
        elif topic in (topics.ticks, topics.orders, topics.fills, topics.rejections, topics.gaps, topics.dead_letters):
            # The opening positions are published again at each start and booked only once: no trade of this run.
            self.seen[topic.name] += not (topic is topics.fills and record.fill_id.startswith("opening-"))

    @property
    def missing(self) -> list[str]:
        """What has not happened yet."""
        return [what for what in EXPECTED if not self.seen[what]]

    def lines(self) -> list[str]:
        """The summary, one line each."""
        return [f"{'ok ' if self.seen[what] else 'MISSING'} {what}: {self.seen[what]:,}" for what in EXPECTED] + [
            f"also: {self.seen['gaps']:,} gaps recorded, {self.seen['dead-letters']:,} dead letters"
        ]
