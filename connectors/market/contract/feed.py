"""From what a venue tells to ticks, gaps and books: the rules that hold for every market feed. Pure: time is passed in.

A book is *unknown* from the moment something is missing until the next snapshot: a gap is open, no tick is published.
Crossed books and clocks that cannot be believed have gaps as well, which close by themselves once it is over.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import structs

from connectors.feed import event_id, identifier
from connectors.market.contract.book import OrderBook
from connectors.market.contract.events import Bad, Event, Phase, Side, Snapshot, Trade, Update
from connectors.market.contract.hours import ALWAYS, Hours
from schemas import topics
from schemas.base import Record
from schemas.books import Book, BookState, Trading
from schemas.gaps import Feed, Gap, GapReason
from schemas.ticks import Tick
from schemas.topics import Topic

MOST_HELD = 10_000
"""Updates per instrument that wait for the snapshot; the oldest goes first, and the snapshot is asked for again."""
_PAUSED = (Trading.HALTED, Trading.CLOSED)


class Content(enum.StrEnum):
    """What the venue sends of an instrument: a ``book`` (its ticks wait for the snapshot), or ``trades`` only."""

    BOOK = "book"
    TRADES = "trades"


class Scope(enum.StrEnum):
    """What a sequence number counts: messages of one instrument, or of the whole connection."""

    INSTRUMENT = "instrument"
    CONNECTION = "connection"


@dataclass(frozen=True, slots=True)
class Spec:
    """How one instrument is read. Times are microseconds.

    ``lot``: what one unit of a tick's ``size`` is in the venue's quantity. ``stale_after``: while the market trades,
    nothing for so long is a silence; None: not watched. ``clock_tolerance``: how far the venue's clock may be ahead of
    ours or go back. ``depth``: levels per side in ``books``, 0 for none, at most every ``depth_interval``.
    """

    instrument: str
    venue: str
    content: Content = Content.BOOK
    lot: float = 1.0
    stale_after: int | None = None
    hours: Hours = ALWAYS
    clock_tolerance: int = 10_000_000
    depth: int = 0
    depth_interval: int = 100_000


class Out(NamedTuple):
    """A record to write, in this order. ``identity``: its ``ce_id``."""

    topic: Topic[Any]
    key: str
    record: Record
    identity: str


class InstrumentFeed:
    """One instrument. ``known``: the book is complete (trades need none); false until the first snapshot."""

    def __init__(self, spec: Spec, now: int) -> None:
        self.spec = spec
        self.known = False
        self.duplicates = 0
        self._book = OrderBook()
        self._trading = Trading.UNKNOWN
        self._gaps: dict[GapReason, Gap] = {}
        self._held: deque[Update] = deque(maxlen=MOST_HELD)
        self._sequence: int | None = None
        self._last: float | None = None
        self._size = 0
        self._event_time = 0
        self._time = now
        self._arrived = now
        self._session = now
        self._count = 0
        self._books = 0
        self._shown: tuple[Any, ...] = ()
        self._dirty = False
        self._published = 0
        self._state = BookState.UNKNOWN

    @property
    def unknown(self) -> bool:
        """Whether the price cannot be trusted at the moment."""
        return not self.known or bool(self._gaps)

    # --- what happens to the feed -------------------------------------------------------------------------------

    def begin(self, now: int) -> None:
        """A connection begins: its ticks are counted anew. It stays unknown until the snapshot."""
        self._session = self._now(now)
        self._count = self._books = 0
        self._sequence = None
        self._held.clear()

    def lose(
        self,
        reason: GapReason,
        detail: str,
        now: int,
        *,
        first: int | None = None,
        last: int | None = None,
        since: int | None = None,
    ) -> list[Out]:
        """Something is missing: the book is unknown until the next snapshot. ``since``: when it began."""
        self.known = False
        self._book.clear()
        out = self._open(reason, detail, now, first=first, last=last, event_time=since)
        return out + self._show(BookState.UNKNOWN, now, detail)

    def take(self, event: Snapshot | Update | Trade, now: int, *, numbered: bool) -> list[Out]:
        """An event of the venue. ``numbered``: its sequence counts this instrument's messages alone.

        Raises Bad when it cannot be applied; the caller then says :meth:`lose`.
        """
        self._arrived = now
        if isinstance(event, Snapshot):
            return self._snapshot(event, now, numbered=numbered)
        if isinstance(event, Update):
            return self._update(event, now, numbered=numbered)
        if missing := self._missing(event.sequence, event.sequence, numbered=numbered):
            return self.lose(GapReason.SEQUENCE, missing[0], now, first=missing[1], last=missing[2])
        if self._repeated(event.sequence):
            return []
        self._pass(event.sequence)
        self._last, self._size = event.price, self._lots(event.size)
        if self.spec.content is Content.TRADES:
            self.known = True
        return self._publish(event.event_time, now, traded=True)

    def phase(self, trading: Trading, now: int) -> list[Out]:
        """The venue says that it opens, halts, closes."""
        if trading is self._trading:
            return []
        self._trading, self._arrived = trading, now
        return self._show(self._state, now, "", force=True)

    def check(self, now: int) -> list[Out]:
        """Ask a few times a second: silence while the market trades, and books that waited for their turn."""
        out: list[Out] = []
        after = self.spec.stale_after
        if after is not None and not self.unknown and self._trading not in _PAUSED:
            opened = self.spec.hours.open_since(now)
            if opened is not None and now - max(self._arrived, opened) > after:
                detail = f"nothing for more than {after / 1e6:g} s while the market trades"
                out = self._open(GapReason.SILENCE, detail, now)
                out += self._show(BookState.STALE, now, detail)
        if self._dirty and now - self._published >= self.spec.depth_interval:
            out += self._show(self._state, now, "", force=True)
        return out

    # --- sequence -----------------------------------------------------------------------------------------------

    def _missing(self, first: int | None, last: int | None, *, numbered: bool) -> tuple[str, int, int] | None:
        if not numbered or first is None or last is None or self._sequence is None or first <= self._sequence + 1:
            return None
        return f"number {first} followed {self._sequence}", self._sequence + 1, first - 1

    def _repeated(self, sequence: int | None) -> bool:
        if sequence is None or self._sequence is None or sequence > self._sequence:
            return False
        self.duplicates += 1
        return True

    def _pass(self, sequence: int | None) -> None:
        if sequence is not None:
            self._sequence = sequence

    def _snapshot(self, event: Snapshot, now: int, *, numbered: bool) -> list[Out]:
        if self.known and self._repeated(event.sequence):
            return []
        self._book.replace(event.levels)
        self._sequence = event.sequence
        self.known = True
        held = sorted((one for one in self._held if one.sequence is not None), key=lambda one: one.sequence or 0)
        self._held.clear()
        newest = event.event_time
        for update in held:
            # What came while the snapshot was on its way: older ones are in it, newer ones must follow without a hole.
            if self._sequence is not None and (update.sequence or 0) <= self._sequence:
                continue
            first = update.sequence if update.first is None else update.first
            if missing := self._missing(first, update.sequence, numbered=numbered):
                return self.lose(GapReason.SEQUENCE, missing[0], now, first=missing[1], last=missing[2])
            self._book.apply(update.changes)
            self._pass(update.sequence)
            newest = max(newest, update.event_time)
        return self._publish(newest, now)

    def _update(self, event: Update, now: int, *, numbered: bool) -> list[Out]:
        if not self.known:
            self._held.append(event)
            return []
        first = event.sequence if event.first is None else event.first
        if missing := self._missing(first, event.sequence, numbered=numbered):
            self._held.append(event)
            return self.lose(GapReason.SEQUENCE, missing[0], now, first=missing[1], last=missing[2])
        if self._repeated(event.sequence):
            return []
        self._pass(event.sequence)
        self._book.apply(event.changes)
        return self._publish(event.event_time, now)

    # --- output -------------------------------------------------------------------------------------------------

    def _publish(self, event_time: int, now: int, *, traded: bool = False) -> list[Out]:
        if not self.known:
            return []
        out: list[Out] = []
        bid, ask = self._book.bid, self._book.ask
        if bid is not None and ask is not None and bid > ask:
            detail = f"the best bid {bid:g} is above the best ask {ask:g}"
            out += self._open(GapReason.CROSSED, detail, now)
            state = BookState.CROSSED
        else:
            detail = ""
            out += self._close(GapReason.CROSSED, "no longer crossed", event_time, now)
            state = BookState.LOCKED if bid is not None and bid == ask else BookState.LIVE
        out += self._clock(event_time, now)
        if GapReason.CLOCK not in self._gaps:
            self._event_time = max(self._event_time, event_time)
        for reason in (GapReason.SEQUENCE, GapReason.DISCONNECTED, GapReason.OVERFLOW, GapReason.SILENCE):
            out += self._close(reason, "data is back", event_time, now)
        if not self._gaps:
            shown = (bid, ask, self._last)
            if traded or out or shown != self._shown:
                out.append(self._tick(bid, ask, now))
                self._shown = shown
        return out + self._show(state, now, detail)

    def _tick(self, bid: float | None, ask: float | None, now: int) -> Out:
        spec = self.spec
        self._count += 1
        tick = Tick(
            instrument=spec.instrument,
            venue=spec.venue,
            bid=bid,
            ask=ask,
            last=self._last,
            size=self._size,
            sequence=self._count,
            event_time=self._event_time,
            receive_time=self._now(now),
        )
        identity = f"{spec.venue}/{spec.instrument}/{self._session}/{self._count}"
        return Out(topics.ticks, spec.instrument, tick, identity)

    def _clock(self, event_time: int, now: int) -> list[Out]:
        """A time that readers would refuse, or would take for older than what they have, must not pass unseen."""
        tolerance = self.spec.clock_tolerance
        ahead, back = event_time - max(now, self._time), self._event_time - event_time
        if ahead > tolerance:
            return self._open(GapReason.CLOCK, f"the venue's clock is {ahead / 1e6:.1f} s ahead of ours", now)
        if back > tolerance:
            return self._open(GapReason.CLOCK, f"the venue's clock went back by {back / 1e6:.1f} s", now)
        return self._close(GapReason.CLOCK, "the venue's clock is right again", event_time, now)

    def _show(self, state: BookState, now: int, reason: str, *, force: bool = False) -> list[Out]:
        """The book for the topic ``books``, if it is wanted and its turn has come; a change of state does not wait."""
        spec = self.spec
        changed = state is not self._state
        self._state = state
        if not spec.depth:
            return []
        if not (changed or force) and now - self._published < spec.depth_interval:
            self._dirty = True
            return []
        self._dirty = False
        self._books += 1
        time = self._now(now)
        self._published = now
        book = Book(
            instrument=spec.instrument,
            venue=spec.venue,
            bids=self._book.best(Side.BID, spec.depth),
            asks=self._book.best(Side.ASK, spec.depth),
            state=state,
            trading=self._trading,
            reason=reason[:2000],
            sequence=self._books,
            event_time=self._event_time or time,
            receive_time=time,
        )
        identity = f"{spec.venue}/{spec.instrument}/{self._session}/book/{self._books}"
        return [Out(topics.books, spec.instrument, book, identity)]

    def _open(
        self,
        reason: GapReason,
        detail: str,
        now: int,
        *,
        first: int | None = None,
        last: int | None = None,
        event_time: int | None = None,
    ) -> list[Out]:
        if reason in self._gaps:
            return []
        time = self._now(now)
        name = self.spec.instrument
        gap = Gap(
            gap_id=identifier(f"{Feed.TICKS.value}/{name}//{reason.value}/{time}"),
            feed=Feed.TICKS,
            key=name,
            reason=reason,
            open=True,
            first=first,
            last=last,
            count=None if first is None or last is None else last - first + 1,
            detail=detail[:2000],
            event_time=time if event_time is None else event_time,
            receive_time=time,
        )
        self._gaps[reason] = gap
        return [Out(topics.gaps, name, gap, event_id(gap))]

    def _close(self, reason: GapReason, detail: str, event_time: int, now: int) -> list[Out]:
        gap = self._gaps.pop(reason, None)
        if gap is None:
            return []
        time = self._now(now)
        closed = structs.replace(gap, open=False, detail=detail, event_time=min(event_time, time), receive_time=time)
        return [Out(topics.gaps, gap.key, closed, event_id(closed))]

    def _lots(self, size: float) -> int:
        """The size in lots; 0 (not known) where it is no whole number of them."""
        lots = size / self.spec.lot
        whole = round(lots)
        return whole if abs(lots - whole) < 1e-6 and whole < 2**63 else 0

    def _now(self, now: int) -> int:
        """Strictly rising, so that a reader can always tell whether a tick or a gap was first."""
        self._time = max(now, self._time + 1)
        return self._time


class MarketFeed:
    """All instruments of one connection. It starts disconnected; call :meth:`started` for the records that say so."""

    def __init__(self, specs: Sequence[Spec], now: int, *, scope: Scope = Scope.INSTRUMENT) -> None:
        self.instruments = {spec.instrument: InstrumentFeed(spec, now) for spec in specs}
        self._numbered = scope is Scope.INSTRUMENT
        self._sequence: int | None = None

    def started(self, now: int) -> list[Out]:
        """Every instrument is unknown: what came before the start is not known."""
        return self.disconnected(now, "the connector starts; what came before is not known")

    def begin(self, now: int) -> None:
        """A connection is there; numbers are counted anew."""
        self._sequence = None
        for one in self.instruments.values():
            one.begin(now)

    def disconnected(self, now: int, detail: str) -> list[Out]:
        """The connection is lost, or was never made."""
        return self._lose(self.instruments.values(), GapReason.DISCONNECTED, detail, now)

    def lost(
        self, now: int, detail: str, *, instrument: str | None = None, first: int | None = None, last: int | None = None
    ) -> list[Out]:
        """Messages are missing, of one instrument or of all."""
        chosen = self.instruments.values() if instrument is None else [self.instruments[instrument]]
        return self._lose(chosen, GapReason.SEQUENCE, detail, now, first, last)

    def take(self, event: Event, now: int) -> list[Out]:
        """What the venue tells. Raises Bad when it cannot be true; its instrument is then to be :meth:`lost`.

        With the connection's own numbers a hole makes every instrument unknown.
        """
        if isinstance(event, Phase):
            chosen = self.instruments.values() if event.instrument is None else [self._of(event.instrument)]
            return [out for one in chosen for out in one.phase(event.trading, now)]
        one = self._of(event.instrument)
        out = [] if self._numbered or isinstance(event, Snapshot) else self.number(event.sequence, now)
        return out + one.take(event, now, numbered=self._numbered)

    def number(self, sequence: int | None, now: int) -> list[Out]:
        """Hold a number of the connection (a heartbeat's, too) against the one before."""
        before = self._sequence
        if sequence is None or (before is not None and sequence <= before):
            return []
        self._sequence = sequence
        if before is None or sequence == before + 1:
            return []
        return self.lost(now, f"number {sequence} followed {before}", first=before + 1, last=sequence - 1)

    def check(self, now: int) -> list[Out]:
        """Silences, and books whose turn has come; ask a few times a second."""
        return [out for one in self.instruments.values() for out in one.check(now)]

    def wanting(self) -> list[str]:
        """Instruments whose book waits for a snapshot."""
        return [name for name, one in self.instruments.items() if not one.known and one.spec.content is Content.BOOK]

    def _of(self, instrument: str) -> InstrumentFeed:
        found = self.instruments.get(instrument)
        if found is None:
            raise Bad(f"the instrument {instrument!r:.80} is not configured")
        return found

    def _lose(
        self,
        chosen: Iterable[InstrumentFeed],
        reason: GapReason,
        detail: str,
        now: int,
        first: int | None = None,
        last: int | None = None,
    ) -> list[Out]:
        return [out for one in chosen for out in one.lose(reason, detail, now, first=first, last=last)]
