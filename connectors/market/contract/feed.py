"""All instruments of one connection: what concerns them together. Pure: time is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from connectors.market.contract.events import Bad, Event, Phase
from connectors.market.contract.instrument import InstrumentFeed
from connectors.market.contract.numbers import Numbers
from connectors.market.contract.spec import Content, Out, Scope, Spec
from schemas.gaps import GapReason


class MarketFeed:
    """All instruments of one connection. It starts disconnected; call :meth:`started` for the records that say so.

    Times are microseconds. ``steady``: a clock that nobody sets, for silences; without it the times passed in serve.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        now: int,
        *,
        scope: Scope = Scope.INSTRUMENT,
        steady: Callable[[], int] | None = None,
    ) -> None:
        self.instruments = {spec.instrument: InstrumentFeed(spec, now, steady) for spec in specs}
        self._numbered = scope is Scope.INSTRUMENT
        self._sequence: int | None = None
        self._stream = Numbers()

    def started(self, now: int) -> list[Out]:
        """Every instrument is unknown: what came before the start is not known."""
        return self.disconnected(now, "the connector starts; what came before is not known")

    def begin(self, now: int) -> None:
        """A connection is there; numbers are counted anew."""
        self._sequence = None
        self._stream.clear()
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

    def take(self, event: Event, now: int, *, apart: bool = False) -> list[Out]:
        """What the venue tells. Raises Bad when it cannot be true; its instrument is then to be :meth:`lost`.

        With the connection's own numbers a hole makes every instrument unknown. ``apart``: the event came by another
        way, so that its number says nothing of the connection.
        """
        if isinstance(event, Phase):
            chosen = self.instruments.values() if event.instrument is None else [self._of(event.instrument)]
            return [out for one in chosen for out in one.phase(event.trading, now)]
        one = self._of(event.instrument)
        if self._numbered or apart:
            return one.take(event, now, numbered=self._numbered)
        return self.number(event.sequence, now) + one.take(event, now, numbered=False)

    def number(self, sequence: int | None, now: int) -> list[Out]:
        """Hold a number of the connection (a heartbeat's, too) against the one before, if it counts its messages."""
        before = self._sequence
        if self._numbered or sequence is None:
            return []
        if self._stream.anew(sequence):
            self._sequence = sequence
            self._stream.clear()
            return self.lost(now, f"the venue counts anew: it is at number {sequence}")
        if before is not None and sequence <= before:
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
