"""Limits: exposure of every book, alerts when it exceeds a limit and when it is back. See docs/processors.md."""

from __future__ import annotations

from processors import breaches
from processors.breaches import Breach, Change
from processors.limit_book import Placed, Placings, replace
from processors.processor import Batch, Emitter, Processor, State
from processors.totals import EMPTY, MILLIONTHS, Held, Totals, amounts, changed, of_position, of_totals
from processors.wording import clip, misplaced
from schemas import topics
from schemas.alerts import Alert
from schemas.base import Coordinates, key_of
from schemas.evidence import Evidence, Input
from schemas.exposures import Exposure, LimitState, LimitUse
from schemas.limits import Limit, Measure
from schemas.positions import Position

SHOWN = 50
"""Positions that an alert names at most, the largest first."""

Touched = dict[tuple[str, str], tuple[int, int]]
"""Books and currencies whose exposure is to be published, with the times of the record that last touched them."""


class Limits(Processor):
    """Exposure per book and currency; opens and closes breaches of soft and hard limits, one position at a time.

    Every position is held against the limits when it is read, not once per batch: which alerts there are depends on
    the order of the records alone, never on how they were grouped.
    """

    name = "limits"
    reads = (topics.positions, topics.limits)
    writes = (topics.exposures, topics.alerts)

    limits_of = State(Placings)
    """Broadcast; by book."""
    book_of = State(str)
    """Broadcast; by limit id."""
    held = State(Held)
    """By ``book|instrument``."""
    totals = State(Totals)
    """By ``book|currency``."""
    breaches = State(Breach)
    """By ``book|limit_id``; only while one is open."""

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Take positions or limits, then publish each exposure that they touched once."""
        touched: Touched = {}
        for index, value in enumerate(batch.values):
            if batch.topic is topics.positions:
                if not misplaced(batch, index, key_of(value.book, value.instrument)):
                    self._position(batch, index, value, touched, out)
            elif not misplaced(batch, index, value.limit_id):
                self._limit(value, batch.at(index), touched, out)
        for (book, currency), times in touched.items():
            out.latest(topics.exposures, key_of(book, currency), self._exposure(book, currency, times))

    def _position(self, batch: Batch, index: int, position: Position, touched: Touched, out: Emitter) -> None:
        key = key_of(position.book, position.instrument)
        before = self.held.get(key)
        sums: dict[str, Totals] = {}
        try:
            if before is not None:
                old = before.position
                sums[old.currency] = changed(self._totals(old.book, old.currency), old, -1)
            current = sums.get(position.currency) or self._totals(position.book, position.currency)
            sums[position.currency] = changed(current, position, 1)
        except OverflowError as error:
            batch.reject(index, str(error))
            return
        at = batch.at(index)
        self.held.put(key, Held(position, at))
        for currency, totals in sums.items():
            self.totals.put(key_of(position.book, currency), totals)
            touched[position.book, currency] = position.event_time, position.receive_time
        for placed in (self.limits_of.get(position.book) or {}).values():
            limit = placed.limit
            if limit.active and limit.currency in sums and limit.instrument in (None, position.instrument):
                self._judge(placed, at, position.event_time, position.receive_time, out)

    def _limit(self, limit: Limit, at: Coordinates, touched: Touched, out: Emitter) -> None:
        placed = Placed(limit, at)
        old = replace(self.limits_of, self.book_of, placed)
        times = limit.event_time, limit.receive_time
        if old is not None and (not limit.active or breaches.redefined(old, limit)):
            key = key_of(old.book, old.limit_id)
            for change in breaches.withdrawn(self.breaches.get(key)):
                self._alert(Placed(limit, at), old, change, None, at, times, out)
            self.breaches.delete(key)
            if old.active and self._holds(old.book):
                touched[old.book, old.currency] = times
        if self._holds(limit.book):
            touched[limit.book, limit.currency] = times
            if limit.active:
                self._judge(placed, at, *times, out)

    def _holds(self, book: str) -> bool:
        """Whether this task is the one that has the book's positions."""
        return any(True for _ in self.totals.items(f"{book}|"))

    def _totals(self, book: str, currency: str) -> Totals:
        return self.totals.get(key_of(book, currency)) or EMPTY

    # --- breaches -----------------------------------------------------------------------------------------------

    def _judge(self, placed: Placed, by: Coordinates, event_time: int, receive_time: int, out: Emitter) -> None:
        limit = placed.limit
        used = self._used(limit)
        if used is None:
            return
        key = key_of(limit.book, limit.limit_id)
        before = self.breaches.get(key) or breaches.NONE
        after, changes = breaches.judge(limit, before, used / MILLIONTHS, by)
        for change in changes:
            self._alert(placed, limit, change, used / MILLIONTHS, by, (event_time, receive_time), out)
        if after == breaches.NONE:
            if before != breaches.NONE:
                self.breaches.delete(key)
        elif after != before:
            self.breaches.put(key, after)

    def _used(self, limit: Limit) -> int | None:
        """The measure in millionths; None while it is unknown."""
        if limit.instrument is None:
            return of_totals(limit.measure, self._totals(limit.book, limit.currency))
        held = self.held.get(key_of(limit.book, limit.instrument))
        return of_position(limit.measure, limit.currency, held.position if held else None)

    def _alert(
        self,
        placed: Placed,
        limit: Limit,
        change: Change,
        used: float | None,
        by: Coordinates,
        times: tuple[int, int],
        out: Emitter,
    ) -> None:
        title, message = breaches.words(placed.limit, limit, change, used)
        alert = Alert(
            alert_id=change.alert_id,
            kind=change.kind,
            severity=change.severity,
            title=clip(title),
            message=clip(message),
            book=limit.book,
            instrument=limit.instrument,
            opened_by=change.opened_by,
            evidence=self._evidence(placed, limit),
            event_time=times[0],
            receive_time=times[1],
        )
        out.append(topics.alerts, limit.book, alert, event_id=alert.alert_id)

    def _evidence(self, placed: Placed, limit: Limit) -> Evidence:
        found = [
            held
            for _, held in self.held.items(f"{limit.book}|")
            if held.position.currency == limit.currency and limit.instrument in (None, held.position.instrument)
        ]
        found.sort(key=lambda held: (-_weight(limit.measure, held.position), held.position.instrument))
        note = f"; the {SHOWN} largest of {len(found)} positions follow" if len(found) > SHOWN else ""
        inputs = [Input(at=placed.at, role="limit", summary=clip(breaches.limit_words(placed.limit) + note))]
        inputs += [
            Input(at=held.at, role="position", summary=clip(breaches.position_words(limit.measure, held.position)))
            for held in found[:SHOWN]
        ]
        return Evidence(decided_by=f"limit:{limit.limit_id}", version=placed.limit.version, inputs=inputs)

    # --- exposures ----------------------------------------------------------------------------------------------

    def _exposure(self, book: str, currency: str, times: tuple[int, int]) -> Exposure:
        """``times`` are used only for a currency in which the book has no position: then the limit made the record."""
        totals = self._totals(book, currency)
        placings = (self.limits_of.get(book) or {}).values()
        active = [placed for placed in placings if placed.limit.active and placed.limit.currency == currency]
        known = not totals.unknown
        return Exposure(
            book=book,
            currency=currency,
            gross=totals.gross / MILLIONTHS if known else None,
            net=totals.net / MILLIONTHS if known else None,
            unrealised_pnl=totals.unrealised / MILLIONTHS if known else None,
            realised_pnl=totals.realised / MILLIONTHS,
            fees=totals.fees / MILLIONTHS,
            positions=totals.positions,
            unknown=totals.unknown,
            limits=[self._use(placed.limit) for placed in active],
            event_time=totals.event_time or times[0],
            receive_time=totals.receive_time or times[1],
        )

    def _use(self, limit: Limit) -> LimitUse:
        used = self._used(limit)
        state = LimitState.UNKNOWN
        if used is not None:
            state = (self.breaches.get(key_of(limit.book, limit.limit_id)) or breaches.NONE).state
        return LimitUse(
            limit_id=limit.limit_id,
            version=limit.version,
            measure=limit.measure,
            instrument=limit.instrument,
            used=None if used is None else used / MILLIONTHS,
            soft=limit.soft,
            hard=limit.hard,
            state=state,
        )


def _weight(measure: Measure, position: Position) -> float:
    """How much a position matters to a measure; an unknown one matters most."""
    weight = amounts(position)
    if weight.value is None or weight.unrealised is None:
        return float("inf")
    return abs(weight.realised + weight.unrealised - weight.fees if measure is Measure.LOSS else weight.value)
