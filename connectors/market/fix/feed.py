"""Market data of one FIX session: subscribes, feeds the contract, asks for snapshots where a book is unknown."""

from __future__ import annotations

import structlog

from connectors import clock
from connectors.market.contract.events import Bad, Snapshot
from connectors.market.desk import Desk
from connectors.market.fix.codec import Garbled, Message
from connectors.market.fix.config import FixConfig, FixInstrument
from connectors.market.fix.link import Link, Pending
from connectors.market.fix.outputs import Close
from connectors.market.fix.quotes import Reader, cancel, request
from connectors.repeats import Repeats

log = structlog.get_logger(__name__)
_DATA = frozenset((b"W", b"X"))


class QuoteHandler:
    """The session's handler. A hole in the session's numbers makes every book unknown and subscribes anew.

    What the venue sends again of the missing is not applied: prices of a while ago are of no use, snapshots are.
    """

    def __init__(self, config: FixConfig, desk: Desk) -> None:
        self._config = config
        self._desk = desk
        self.outbox = desk.outbox
        self._listed = {one.instrument: one for one in config.instruments}
        self._reader = Reader({one.called: one.instrument for one in config.instruments}, numbered=config.rpt_seq)
        self._requests: dict[str, tuple[str, int]] = {}  # instrument: MDReqID and when, by the steady clock
        self._asked: dict[bytes, str] = {}  # MDReqID: instrument
        self._count = 0
        self._repeats = Repeats()

    def logged_on(self, link: Link, *, restarted: bool) -> None:
        """Subscribe to everything."""
        self._desk.begin()
        self._requests.clear()
        self._asked.clear()
        for one in self._config.instruments:
            self._subscribe(link, one)

    def message(self, link: Link, message: Message, sequence: int, pending: Pending) -> None:
        """Prices, states and refusals."""
        self._desk.life.taken()
        identity, kind = message.get(262), message.kind
        requested = None if identity is None else self._asked.get(identity)
        if identity is not None and requested is None and kind in _DATA:
            return  # of a subscription that was given up
        if kind in (b"Y", b"j", b"3"):
            self._refused(message, requested)
            return
        try:
            events = self._reader.read(message, requested)
        except Bad as bad:
            self._desk.refused(str(bad), message.raw)
            # What it changed is not known: everything that it may have been about is.
            self._lost(link, str(bad), requested)
            return
        for event in events:
            known = self._desk.take(event)
            if not known and event.instrument is not None and not isinstance(event, Snapshot):
                self._again(link, event.instrument)

    def missing(self, link: Link, first: int, last: int) -> None:
        """Every book may have changed."""
        self._desk.lost(f"FIX messages {first} to {last} did not come", first=first, last=last)
        self._everything(link)

    def filled(self, link: Link, first: int, last: int) -> None:
        """As :meth:`missing`, unless the books are unknown and asked for already."""
        if len(self._desk.feed.wanting()) < len(self._listed):
            self.missing(link, first, last)

    def garbled(self, garbled: Garbled) -> None:
        """Kept for a person; the hole that it leaves in the numbers is noticed with the next message."""
        self._desk.refused(garbled.reason, garbled.raw)

    def closed(self, end: Close) -> None:
        """Nothing is known any more, whatever the peer's numbers are."""
        self._desk.disconnected(end.reason, person=end.person)

    def check(self, link: Link) -> None:
        """Snapshots that do not come are asked for again."""
        self._desk.check()
        if not link.live:
            return
        late = clock.steady() - self._config.snapshot_timeout
        for instrument in self._desk.feed.wanting():
            asked = self._requests.get(instrument)
            if asked is None or asked[1] < late:
                self._again(link, instrument)

    def _lost(self, link: Link, detail: str, instrument: str | None) -> None:
        self._desk.lost(detail, instrument=instrument)
        if instrument is None:
            self._everything(link)
        else:
            self._again(link, instrument)

    def _everything(self, link: Link) -> None:
        for instrument in self._listed:
            self._again(link, instrument)

    def _again(self, link: Link, instrument: str) -> None:
        one = self._listed[instrument]
        if before := self._requests.pop(instrument, None):
            self._asked.pop(before[0].encode(), None)
            link.send("V", cancel(self._config, one, before[0]))
        self._subscribe(link, one)

    def _subscribe(self, link: Link, one: FixInstrument) -> None:
        self._count += 1
        identity = f"{one.instrument[:40]}-{self._count}"
        self._requests[one.instrument] = (identity, clock.steady())
        self._asked[identity.encode()] = one.instrument
        link.send("V", request(self._config, one, identity))

    def _refused(self, message: Message, instrument: str | None) -> None:
        why = message.text(58) or f"code {message.text(281) or message.text(380) or message.text(373)}"
        if (again := self._repeats.again(instrument or "", why)) is not None:
            log.error(
                "the venue refused a request", session=self._config.name, instrument=instrument, reason=why, **again
            )
        self._desk.life.failed()
        if instrument is not None:
            self._desk.lost(f"the venue refused the subscription: {why}", instrument=instrument)
