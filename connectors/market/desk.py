"""One market feed's way out: what the venue tells goes through the contract, and what becomes of it to the outlet."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from prometheus_client import Counter

from connectors import clock
from connectors.lifecycle import Lifecycle, Profile
from connectors.market.contract.events import Bad, Event
from connectors.market.contract.feed import MarketFeed
from connectors.market.contract.spec import Out, Scope, Spec
from connectors.market.outbox import Outbox
from connectors.outlet import Outlet
from connectors.repeats import Repeats
from schemas import topics
from schemas.devices import DeviceState

log = structlog.get_logger(__name__)

DUPLICATES = Counter(
    "gridtape_connector_market_duplicates_total", "Ticks that came a second time and were dropped.", ["instrument"]
)
UNKNOWN = Counter(
    "gridtape_connector_market_unknown_total",
    "How often an instrument's price became unknown, by the reason of its gap.",
    ["instrument", "reason"],
)


class Desk:
    """Ticks, gaps and books of one connection, its life cycle on ``devices``, its metrics. Used by one thread."""

    def __init__(
        self, connector: str, profile: Profile, specs: Sequence[Spec], outlet: Outlet, *, scope: Scope
    ) -> None:
        self.name = profile.device
        self.outbox = Outbox(outlet)
        self.feed = MarketFeed(specs, clock.now(), scope=scope, steady=clock.steady)
        self.life = Lifecycle(connector, profile, self.outbox.status)
        self._outlet = outlet
        self._repeats = Repeats()
        self._connector = connector
        self.life.state(DeviceState.CONNECTING)
        self._write(self.feed.started(clock.now()))

    def begin(self) -> None:
        """A connection is there."""
        self.feed.begin(clock.now())
        self.life.state(DeviceState.LIVE)

    def take(self, event: Event, *, apart: bool = False) -> bool:
        """What the venue tells; false when it cannot be true, and the instrument then waits for a snapshot.

        ``apart``: it came by another way than the connection.
        """
        now = clock.now()
        try:
            out = self.feed.take(event, now, apart=apart)
            if out:
                self._write(out)
        except Bad as bad:
            if event.instrument in self.feed.instruments:
                self._write(self.feed.lost(now, str(bad), instrument=event.instrument))
            if (again := self._repeats.again(event.instrument or "", str(bad))) is not None:
                log.warning(
                    "a market message was refused",
                    feed=self.name,
                    instrument=event.instrument,
                    reason=str(bad),
                    **again,
                )
            self.life.failed()
            return False
        return True

    def number(self, sequence: int) -> None:
        """A number of the connection, from a message without prices."""
        self._write(self.feed.number(sequence, clock.now()))

    def lost(
        self, detail: str, *, instrument: str | None = None, first: int | None = None, last: int | None = None
    ) -> None:
        """Messages are missing."""
        self._write(self.feed.lost(clock.now(), detail, instrument=instrument, first=first, last=last))

    def disconnected(self, why: str, *, person: bool = False) -> None:
        """The connection is gone; ``person``: trying again alone will not bring it back."""
        self.life.failed()
        self.life.state(DeviceState.DOWN, why, person=person)
        self._write(self.feed.disconnected(clock.now(), why))

    def refused(self, reason: str, raw: bytes) -> None:
        """A message that could not be read at all."""
        self.life.failed()
        self.outbox.letter(f"{self._connector}:{self.name}", reason, raw, clock.now())

    def check(self) -> None:
        """Silences, heartbeats, metrics; a few times a second."""
        self._write(self.feed.check(clock.now()))
        self.outbox.drain()
        self.life.waits(self._outlet.waiting())
        self.life.beat()
        for name, one in self.feed.instruments.items():
            if one.duplicates:
                DUPLICATES.labels(name).inc(one.duplicates)
                one.duplicates = 0

    def _write(self, out: list[Out]) -> None:
        for one in out:
            if one.topic is topics.gaps:
                gap = one.record
                if getattr(gap, "open", False):
                    UNKNOWN.labels(one.key, getattr(gap, "reason", "")).inc()
            self.outbox.put(one.topic, one.key, one.record, one.identity)
