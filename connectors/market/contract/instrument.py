"""From what a venue tells of one instrument to its ticks, gaps and books. Pure: time is passed in.

A book is *unknown* from the moment something is missing until the next snapshot: a gap is open, no tick is published.
Crossed books and clocks that cannot be believed have gaps as well, which close by themselves once it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from connectors.market.contract.book import OrderBook
from connectors.market.contract.events import Side, Snapshot, Trade, Update
from connectors.market.contract.gaps import OpenGaps
from connectors.market.contract.numbers import Numbers
from connectors.market.contract.spec import Content, Out, Spec
from schemas import topics
from schemas.books import Book, BookState, Trading
from schemas.gaps import GapReason
from schemas.ticks import Tick

MOST_HELD = 10_000
"""Updates per instrument that wait for the snapshot; the oldest goes first, and the snapshot is asked for again."""
_PAUSED = (Trading.HALTED, Trading.CLOSED)
_UNTIL_DATA = (GapReason.SEQUENCE, GapReason.DISCONNECTED, GapReason.OVERFLOW, GapReason.SILENCE)


class InstrumentFeed:
    """One instrument. ``known``: the book is complete (trades need none); false until the first snapshot.

    Times are microseconds. ``steady``: a clock that nobody sets, which measures silence and the pace of ``books``;
    without it the times passed in do.
    """

    def __init__(self, spec: Spec, now: int, steady: Callable[[], int] | None = None) -> None:
        self.spec = spec
        self.known = False
        self.duplicates = 0
        self._book = OrderBook()
        self._trading = Trading.UNKNOWN
        self._gaps = OpenGaps(spec.instrument, self._now)
        self._held: deque[Update] = deque(maxlen=MOST_HELD)
        self._sequence: int | None = None
        self._stream = Numbers()
        self._last: float | None = None
        self._size = 0
        self._event_time = 0
        self._time = now
        self._steady = steady
        self._arrived = self._elapsed(now)
        self._session = now
        self._count = 0
        self._books = 0
        self._shown: tuple[Any, ...] = ()
        self._dirty = False
        self._published: int | None = None
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
        self._stream.clear()
        self._held.clear()

    def lose(
        self,
        reason: GapReason,
        detail: str,
        now: int,
        *,
        first: int | None = None,
        last: int | None = None,
    ) -> list[Out]:
        """Something is missing: the book is unknown until the next snapshot."""
        self.known = False
        self._book.clear()
        self._stream.clear()
        out = self._gaps.open(reason, detail, now, first=first, last=last)
        return out + self._show(BookState.UNKNOWN, now, detail)

    def take(self, event: Snapshot | Update | Trade, now: int, *, numbered: bool) -> list[Out]:
        """An event of the venue. ``numbered``: its sequence counts this instrument's messages alone.

        Raises Bad when it cannot be applied; the caller then says :meth:`lose`.
        """
        if self.spec.stale_after is not None:
            self._arrived = self._elapsed(now)
        if isinstance(event, Snapshot):
            return self._snapshot(event, now, numbered=numbered)
        out: list[Out] = []
        if self._stream.anew(event.sequence):
            self._sequence = None
            out = self.lose(GapReason.SEQUENCE, f"the venue counts anew: it is at number {event.sequence}", now)
        if isinstance(event, Update):
            return out + self._update(event, now, numbered=numbered)
        return out + self._trade(event, now, numbered=numbered)

    def phase(self, trading: Trading, now: int) -> list[Out]:
        """The venue says that it opens, halts, closes."""
        if trading is self._trading:
            return []
        self._trading, self._arrived = trading, self._elapsed(now)
        return self._show(self._state, now, "", force=True)

    def check(self, now: int) -> list[Out]:
        """Ask a few times a second: silence while the market trades, and books that waited for their turn."""
        out: list[Out] = []
        after = self.spec.stale_after
        if after is not None and not self.unknown and self._trading not in _PAUSED:
            opened = self.spec.hours.open_since(now)
            if opened is not None and min(self._elapsed(now) - self._arrived, now - opened) > after:
                detail = f"nothing for more than {after / 1e6:g} s while the market trades"
                out = self._gaps.open(GapReason.SILENCE, detail, now)
                out += self._show(BookState.STALE, now, detail)
        if self._dirty and self._due(now):
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
        missing = self._missing(event.first, event.sequence, numbered=numbered and self.known)
        self._book.replace(event.levels)
        out = (
            []
            if missing is None
            else self._gaps.open(GapReason.SEQUENCE, missing[0], now, first=missing[1], last=missing[2])
        )
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
        return out + self._publish(newest, now)

    def _update(self, event: Update, now: int, *, numbered: bool) -> list[Out]:
        if not self.known:
            self._held.append(event)
            return []
        if event.sequence is not None:
            first = event.sequence if event.first is None else event.first
            if missing := self._missing(first, event.sequence, numbered=numbered):
                self._held.append(event)
                return self.lose(GapReason.SEQUENCE, missing[0], now, first=missing[1], last=missing[2])
            if self._repeated(event.sequence):
                return []
            self._sequence = event.sequence
        self._book.apply(event.changes)
        return self._publish(event.event_time, now)

    def _trade(self, event: Trade, now: int, *, numbered: bool) -> list[Out]:
        out: list[Out] = []
        if missing := self._missing(event.sequence, event.sequence, numbered=numbered):
            out = self.lose(GapReason.SEQUENCE, missing[0], now, first=missing[1], last=missing[2])
            if self.spec.content is Content.BOOK:
                return out
        elif self._repeated(event.sequence):
            return []
        self._pass(event.sequence)
        self._last, self._size = event.price, self._lots(event.size)
        if self.spec.content is Content.TRADES:
            self.known = True
        return out + self._publish(event.event_time, now, traded=True)

    # --- output -------------------------------------------------------------------------------------------------

    def _publish(self, event_time: int, now: int, *, traded: bool = False) -> list[Out]:
        if not self.known:
            return []
        gaps = self._gaps
        bid, ask = self._book.bid, self._book.ask
        out: list[Out] = []
        detail, state = "", BookState.LIVE
        if bid is not None and ask is not None and bid >= ask:
            state = BookState.LOCKED if bid == ask else BookState.CROSSED
        if state is BookState.CROSSED:
            detail = f"the best bid {bid:g} is above the best ask {ask:g}"
            out += gaps.open(GapReason.CROSSED, detail, now)
        elif gaps:
            out += gaps.close(GapReason.CROSSED, "no longer crossed", event_time, now)
        out += self._clock(event_time, now)
        if gaps:
            if GapReason.CLOCK not in gaps:
                self._event_time = max(self._event_time, event_time)
            for reason in _UNTIL_DATA:
                out += gaps.close(reason, "data is back", event_time, now)
        elif event_time > self._event_time:
            self._event_time = event_time
        if not gaps:
            shown = (bid, ask, self._last)
            if traded or out or shown != self._shown:
                out.append(self._tick(bid, ask, now))
                self._shown = shown
        if self.spec.depth or state is not self._state:
            out += self._show(state, now, detail)
        return out

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
        ahead = event_time - (now if now > self._time else self._time)
        back = self._event_time - event_time
        if ahead > tolerance:
            return self._gaps.open(GapReason.CLOCK, f"the venue's clock is {ahead / 1e6:.1f} s ahead of ours", now)
        if back > tolerance:
            return self._gaps.open(GapReason.CLOCK, f"the venue's clock went back by {back / 1e6:.1f} s", now)
        if not self._gaps:
            return []
        return self._gaps.close(GapReason.CLOCK, "the venue's clock is right again", event_time, now)

    def _show(self, state: BookState, now: int, reason: str, *, force: bool = False) -> list[Out]:
        """The book for the topic ``books``, if it is wanted and its turn has come; a change of state does not wait."""
        spec = self.spec
        changed = state is not self._state
        self._state = state
        if not spec.depth:
            return []
        if not (changed or force or self._due(now)):
            self._dirty = True
            return []
        self._dirty = False
        self._books += 1
        time = self._now(now)
        self._published = self._elapsed(now)
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

    def _lots(self, size: float) -> int:
        """The size in lots; 0 (not known) where it is no whole number of them."""
        lots = size / self.spec.lot
        whole = round(lots)
        return whole if abs(lots - whole) < 1e-6 and whole < 2**63 else 0

    def _due(self, now: int) -> bool:
        """Whether it is the turn of a book again."""
        return self._published is None or self._elapsed(now) - self._published >= self.spec.depth_interval

    def _elapsed(self, now: int) -> int:
        return now if self._steady is None else self._steady()

    def _now(self, now: int) -> int:
        """Strictly rising, so that a reader can always tell whether a tick or a gap was first."""
        self._time = max(now, self._time + 1)
        return self._time
