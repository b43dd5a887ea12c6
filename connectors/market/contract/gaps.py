"""Why one instrument's price cannot be trusted at the moment, as gap records. Pure."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from connectors.feed import event_id, identifier
from connectors.market.contract.spec import Out
from schemas import topics
from schemas.gaps import Feed, Gap, GapReason


class OpenGaps(dict[GapReason, Gap]):
    """The open gaps of one instrument, at most one for each reason; true while there is any.

    ``stamp``: gives the receive time of a record that is made ``now``, strictly rising. Times are microseconds.
    """

    def __init__(self, instrument: str, stamp: Callable[[int], int]) -> None:
        super().__init__()
        self._instrument = instrument
        self._stamp = stamp

    def open(
        self, reason: GapReason, detail: str, now: int, *, first: int | None = None, last: int | None = None
    ) -> list[Out]:
        """The record that opens it, nothing when it is open. ``first`` to ``last``: the numbers that are missing."""
        if reason in self:
            return []
        time = self._stamp(now)
        gap = Gap(
            gap_id=identifier(f"{Feed.TICKS.value}/{self._instrument}//{reason.value}/{time}"),
            feed=Feed.TICKS,
            key=self._instrument,
            reason=reason,
            open=True,
            first=first,
            last=last,
            count=None if first is None or last is None else last - first + 1,
            detail=detail[:2000],
            event_time=time,
            receive_time=time,
        )
        self[reason] = gap
        return [Out(topics.gaps, gap.key, gap, event_id(gap))]

    def close(self, reason: GapReason, detail: str, event_time: int, now: int) -> list[Out]:
        """The record that closes it, nothing when none is open."""
        gap = self.pop(reason, None)
        if gap is None:
            return []
        time = self._stamp(now)
        closed = structs.replace(gap, open=False, detail=detail, event_time=min(event_time, time), receive_time=time)
        return [Out(topics.gaps, gap.key, closed, event_id(closed))]
