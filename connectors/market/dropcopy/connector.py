"""A FIX 4.4 drop copy into ``fills``: a report counts as taken only when its fills are in Kafka."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import structlog
from msgspec import structs

from connectors import clock
from connectors.feed import FeedTracker, event_id, identifier
from connectors.lifecycle import Lifecycle
from connectors.market.common import profile
from connectors.market.contract.events import Bad
from connectors.market.dropcopy.config import DropCopyConfig
from connectors.market.dropcopy.gaps import KeptGaps
from connectors.market.dropcopy.ledger import Ledger
from connectors.market.dropcopy.reports import read
from connectors.market.fix.codec import Garbled, Message
from connectors.market.fix.connector import together
from connectors.market.fix.link import Link, Pending
from connectors.market.fix.outputs import Close
from connectors.market.fix.store import Store, StoreError
from connectors.market.outbox import Outbox
from connectors.outlet import Outlet
from schemas import topics
from schemas.devices import DeviceState
from schemas.gaps import Feed, Gap, GapReason

log = structlog.get_logger(__name__)


def _lifecycle(connector: str, config: DropCopyConfig, outbox: Outbox) -> Lifecycle:
    names = [one.instrument for one in config.instruments]
    return Lifecycle(connector, profile(config.name, "fix-4.4-drop-copy", config, names), outbox.status)


class ReportHandler:
    """The session's handler: reports to fills, with gaps of the feed ``fills`` under the drop copy's name."""

    def __init__(self, connector: str, config: DropCopyConfig, ledger: Ledger, kept: KeptGaps, outlet: Outlet) -> None:
        self.outbox = Outbox(outlet)
        self._outlet = outlet
        self._config = config
        self._ledger = ledger
        self._kept = kept
        self._source = f"{connector}:{config.name}"
        self._tracker = FeedTracker(Feed.FILLS)
        self._away = True
        self._open: list[Gap] = kept.left()
        self.life = _lifecycle(connector, config, self.outbox)
        self.life.state(DeviceState.CONNECTING)
        self._gaps(self._tracker.disconnected(config.name, now=clock.now(), detail="the connector starts"))

    def logged_on(self, link: Link, *, restarted: bool) -> None:
        """The peer sends now what was missed, unless it counts anew."""
        self._ledger.forget_waiting()
        self._away = True
        self.life.state(DeviceState.LIVE)
        if restarted:
            detail = "the peer counts anew from 1: whether fills were missed is not known; reconcile"
            log.error("the drop copy was reset by the peer", session=self._config.name)
            gap = self._gap(None, None, detail)
            self._gaps([gap, _closed(gap)])

    def message(self, link: Link, message: Message, sequence: int, pending: Pending) -> None:
        """Book a report; put aside what cannot be booked. Everything else of the peer's says nothing of positions."""
        self.life.taken()
        if message.kind != b"8":
            return
        now = clock.now()
        try:
            report = read(message, self._config)
            entry = None if report is None else self._ledger.enter(report, now)
        except Bad as bad:
            log.warning("an execution was not booked", session=self._config.name, sequence=sequence, reason=str(bad))
            self.life.failed()
            reason = f"not booked (MsgSeqNum {sequence}): {bad}"
            self.outbox.letter(self._source, reason, message.raw, now, pending.expect())
            return
        if entry is None:
            return
        pending.beside += entry.beside
        for fill in entry.fills:
            self.outbox.put(topics.fills, fill.instrument, fill, fill.fill_id, pending.expect())

    def missing(self, link: Link, first: int, last: int) -> None:
        """Fills may be missing until they are sent again."""
        self._away = True
        self._open.append(self._gap(first, last, f"FIX messages {first} to {last} did not come; asked for again"))
        self._gaps(self._open[-1:])

    def filled(self, link: Link, first: int, last: int) -> None:
        """The peer says that nothing of ``first`` to ``last`` is worth repeating."""
        log.info("the peer filled numbers without content", session=self._config.name, first=first, last=last)

    def garbled(self, garbled: Garbled) -> None:
        """Kept for a person; it is asked for again."""
        self.life.failed()
        self.outbox.letter(self._source, garbled.reason, garbled.raw, clock.now())

    def closed(self, end: Close) -> None:
        """No fills until it is back; they are sent again then, unless the peer's numbers went astray: a gap says so."""
        self._away = True
        self.life.failed()
        self.life.state(DeviceState.DOWN, end.reason, person=end.person)
        self._gaps(self._tracker.disconnected(self._config.name, now=clock.now(), detail=end.reason))
        unnumbered = (gap for gap in self._open if gap.reason is GapReason.SEQUENCE and gap.first is None)
        if end.astray and next(unnumbered, None) is None:  # once, however often it is tried
            gap = self._gap(None, None, f"{end.reason}: whether fills were missed is not known; reconcile")
            self._open.append(gap)
            self._gaps([gap])

    def check(self, link: Link) -> None:
        """Close the gaps once everything is there."""
        self.outbox.drain()
        if self._away and link.complete:
            self._away = False
            now = clock.now()
            seen = self._tracker.arrived(self._config.name, None, sequence=None, event_time=now, receive_time=now)
            self._gaps(seen.gaps + [_closed(gap) for gap in self._open])
            self._open.clear()
        self._kept.forget()
        if link.settled:
            self._ledger.forget_waiting()
        self.life.waits(self._outlet.waiting())
        self.life.beat()

    def _gap(self, first: int | None, last: int | None, detail: str) -> Gap:
        now = clock.now()
        name = self._config.name
        return Gap(
            gap_id=identifier(f"{Feed.FILLS.value}/{name}//sequence/{now}"),
            feed=Feed.FILLS,
            key=name,
            reason=GapReason.SEQUENCE,
            open=True,
            first=first,
            last=last,
            count=None if first is None or last is None else last - first + 1,
            detail=detail,
            event_time=now,
            receive_time=now,
        )

    def _gaps(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            if gap.open:
                self._kept.keep(gap)
            done = None if gap.open else self._kept.closing(gap)
            self.outbox.put(topics.gaps, gap.key, gap, event_id(gap), done)


def _closed(gap: Gap) -> Gap:
    now = max(clock.now(), gap.receive_time)
    return structs.replace(gap, open=False, event_time=now, receive_time=now)


class DropCopyConnector:
    """All sessions of ``[[drop_copy]]``."""

    name = "drop-copy"

    def __init__(self, config: list[DropCopyConfig], outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet

    def run(self, stop: threading.Event) -> None:
        """Keep every session up until ``stop``."""
        asyncio.run(together([(one.name, partial(self._session, one, stop)) for one in self._config], stop))

    async def _session(self, config: DropCopyConfig, stop: threading.Event) -> None:
        try:
            store = Store(config.store, f"{config.sender}>{config.target}")
        except StoreError as error:
            outbox = Outbox(self._outlet)
            _lifecycle(self.name, config, outbox).state(DeviceState.DOWN, str(error))
            outbox.drain()
            raise
        ledger = Ledger(store.database, config.name, config.venue)
        handler = ReportHandler(self.name, config, ledger, KeptGaps(store.database), self._outlet)
        link = Link(config, store, handler, reset=False)
        try:
            await link.run(stop)
        finally:
            handler.closed(Close("the connector stops"))
            handler.outbox.drain()
            store.close()
