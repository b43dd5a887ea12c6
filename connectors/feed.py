"""Watches feeds for holes, repeats and silence, and makes the gap records that say so. Pure: time is passed in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import structs

from schemas.base import EARLIEST_TIME, IDENTIFIER_CHARACTERS, LATEST_TIME
from schemas.gaps import Feed, Gap, GapReason

_IDENTIFIER_LIMIT = 200
_NOT_IN_IDS = re.compile(rf"[^{IDENTIFIER_CHARACTERS}]")
_Address = tuple[str, str | None]  # key, point
_Place = tuple[str, str | None, str]  # key, point, counter
_NEVER = -1  # counted down from here it does not reach zero: the hole is never filled


class Seen(NamedTuple):
    """What one arrival means: the gap records to write before it, and whether its number was here already."""

    gaps: list[Gap]
    duplicate: bool


@dataclass(slots=True)
class _Hole:
    gap: Gap
    missing: int


@dataclass(slots=True)
class _Sequence:
    """Numbers of one stream. ``missing``: first number of each run still missing → (last number, its hole)."""

    highest: int
    newest: int
    forgotten: int
    missing: dict[int, tuple[int, _Hole]] = field(default_factory=dict)


@dataclass(slots=True)
class _Watch:
    """``since``: the newest arrival's time; ``heard``: the same on the clock that measures silence."""

    silence: int
    since: int
    heard: int


def event_id(gap: Gap) -> str:
    """``ce_id`` of a gap record: its opening and its closing are two events."""
    return f"{gap.gap_id}/{'open' if gap.open else 'closed'}"


class FeedTracker:
    """Sequence, silence and connection of the streams of one feed. A stream is a key (device, instrument) and a point.

    Gap ids follow from the source's own numbers and times. Times are microseconds. Not thread-safe. What was missed
    before a stream's first arrival cannot be known; the caller says it with :meth:`disconnected` where it matters.

    Per stream at most ``max_missing`` runs of missing numbers are remembered; beyond that the oldest is given up: its
    gap stays open for ever, and what arrives from it later is passed as new, never taken for a repeat.

    ``steady``: a clock of microseconds that nobody sets, which measures silence; without it the times passed in do.
    """

    def __init__(self, feed: Feed, *, max_missing: int = 64, steady: Callable[[], int] | None = None) -> None:
        self._feed = feed
        self._max_missing = max_missing
        self._steady = steady
        self._sequences: dict[_Place, _Sequence] = {}
        self._watches: dict[_Address, _Watch] = {}
        self._open: dict[_Address, dict[GapReason, Gap]] = {}

    def watch(self, key: str, point: str | None, *, silence: int, now: int) -> None:
        """Expect an arrival every ``silence`` microseconds from ``now`` on; ``point`` None: any point of the key."""
        self._watches[key, point] = _Watch(silence, now, self._elapsed(now))

    def arrived(
        self,
        key: str,
        point: str | None,
        *,
        sequence: int | None,
        event_time: int,
        receive_time: int,
        counter: str = "",
    ) -> Seen:
        """A record is here. It ends the key's silence, and its number, if it has one, is held against the stream's.

        ``counter``: which of the stream's numberings it is, where there are several.

        A number above the next opens a gap; one that was missing closes it when it was the last of its gap. A number
        that is not above the highest is a restart of the source when its event time is newer than all before, and
        otherwise late or a repeat.
        """
        gaps = self._back(key, point, event_time, receive_time)
        if sequence is None:
            return Seen(gaps, duplicate=False)
        place = key, point, counter
        stream = self._sequences.get(place)
        if stream is None:
            self._sequences[place] = _Sequence(sequence, event_time, forgotten=sequence - 1)
            return Seen(gaps, duplicate=False)
        if sequence > stream.highest:
            if sequence > stream.highest + 1:
                gaps.append(self._hole(stream, place, sequence, event_time, receive_time))
            stream.highest = sequence
            stream.newest = max(stream.newest, event_time)
            return Seen(gaps, duplicate=False)
        if event_time > stream.newest:
            gaps += self._restart(stream, place, sequence, event_time, receive_time)
            return Seen(gaps, duplicate=False)
        return self._late(stream, gaps, sequence, event_time, receive_time)

    def alive(self, key: str, now: int) -> None:
        """The source says that it is there: no record, so that no gap ends, but no silence either."""
        self._heard((key, None), now)

    def silent(self, now: int) -> list[Gap]:
        """Gaps of the watched streams that have been silent for too long; ask about once a second.

        None is opened while the key's connection is known to be lost: that gap says it already.
        """
        gaps = []
        for (key, point), watch in self._watches.items():
            is_known = GapReason.DISCONNECTED in self._open.get((key, None), {})
            if is_known or self._elapsed(now) - watch.heard <= watch.silence:
                continue
            opened = self._open.setdefault((key, point), {})
            if GapReason.SILENCE not in opened:
                detail = f"nothing for more than {watch.silence / 1e6:g} s"
                gap = self._gap(key, point, GapReason.SILENCE, f"{watch.since}", now, now, detail=detail)
                opened[GapReason.SILENCE] = gap
                gaps.append(gap)
        return gaps

    def disconnected(self, key: str, *, now: int, detail: str, event_time: int | None = None) -> list[Gap]:
        """The connection that brings the key's data is lost; its next arrival closes the gap. One gap at a time.

        ``event_time``: when it was lost, where the source says so.
        """
        since = now if event_time is None else event_time
        return self._interrupted(key, None, GapReason.DISCONNECTED, since, now, None, detail)

    def missed(
        self, key: str, *, now: int, detail: str, first: int | None = None, last: int | None = None, count: int | None
    ) -> list[Gap]:
        """Messages ``first`` to ``last`` of the key never came, as far as that is known; its next arrival closes."""
        gaps = self._interrupted(key, None, GapReason.SEQUENCE, now, now, count, detail)
        for place, gap in enumerate(gaps):
            gaps[place] = self._open[key, None][gap.reason] = structs.replace(gap, first=first, last=last)
        return gaps

    def overflowed(
        self, key: str, point: str | None, *, event_time: int, receive_time: int, count: int | None, detail: str
    ) -> list[Gap]:
        """The source says that it dropped data of the stream, ``count`` records if known; its next arrival closes.

        What is dropped until then belongs to the same gap: its closing says how many they were together.
        """
        return self._interrupted(key, point, GapReason.OVERFLOW, event_time, receive_time, count, detail)

    def _elapsed(self, at: int) -> int:
        return at if self._steady is None else self._steady()

    def _interrupted(
        self,
        key: str,
        point: str | None,
        reason: GapReason,
        event_time: int,
        receive_time: int,
        count: int | None,
        detail: str,
    ) -> list[Gap]:
        opened = self._open.setdefault((key, point), {})
        if (before := opened.get(reason)) is not None:
            together = None if before.count is None or count is None else before.count + count
            opened[reason] = structs.replace(before, count=together)
            return []
        gap = self._gap(key, point, reason, f"{event_time}", event_time, receive_time, count=count, detail=detail)
        opened[reason] = gap
        return [gap]

    def _heard(self, address: _Address, now: int) -> None:
        if watch := self._watches.get(address):
            watch.since = max(watch.since, now)
            watch.heard = max(watch.heard, self._elapsed(now))

    def _back(self, key: str, point: str | None, event_time: int, receive_time: int) -> list[Gap]:
        closed = []
        for address in ((key, None), (key, point)) if point is not None else ((key, None),):
            self._heard(address, receive_time)
            if address not in self._open:
                continue
            for gap in self._open.pop(address).values():
                lasted = max(0, receive_time - gap.receive_time) / 1e6
                closed.append(_closed(gap, f"data is back after {lasted:.3f} s", event_time, receive_time))
        return sorted(closed, key=lambda gap: gap.gap_id)

    def _hole(self, stream: _Sequence, place: _Place, sequence: int, event_time: int, receive_time: int) -> Gap:
        key, point, counter = place
        first, last = stream.highest + 1, sequence - 1
        count = last - first + 1
        gap = self._gap(
            key,
            point,
            GapReason.SEQUENCE,
            f"{_spelled(counter)}{first}-{last}/{event_time}",
            event_time,
            # It is noticed just before the record that shows it, which therefore counts as received later.
            receive_time - 1,
            count=count,
            first=first,
            last=last,
            detail=f"number {sequence} followed {stream.highest}{_of(counter)}",
        )
        stream.missing[first] = (last, _Hole(gap, count))
        self._forget(stream)
        return gap

    def _late(self, stream: _Sequence, gaps: list[Gap], sequence: int, event_time: int, receive_time: int) -> Seen:
        for first, (last, hole) in stream.missing.items():
            if first <= sequence <= last:
                del stream.missing[first]
                if first < sequence:
                    stream.missing[first] = (sequence - 1, hole)
                if sequence < last:
                    stream.missing[sequence + 1] = (last, hole)
                hole.missing -= 1
                if hole.missing == 0:
                    gaps.append(_closed(hole.gap, "came late", event_time, receive_time))
                self._forget(stream)
                return Seen(gaps, duplicate=False)
        return Seen(gaps, duplicate=sequence > stream.forgotten)

    def _restart(
        self, stream: _Sequence, place: _Place, sequence: int, event_time: int, receive_time: int
    ) -> list[Gap]:
        key, point, counter = place
        followed = f"number {sequence} followed {stream.highest}{_of(counter)}"
        detail = f"the source counts anew: {followed}; what is missing is not known"
        gap = self._gap(
            key,
            point,
            GapReason.SEQUENCE,
            f"{_spelled(counter)}restart/{sequence}/{event_time}",
            event_time,
            receive_time - 1,
            detail=detail,
        )
        self._sequences[place] = _Sequence(sequence, event_time, forgotten=sequence - 1)
        return [gap, _closed(gap, detail, event_time, receive_time)]

    def _forget(self, stream: _Sequence) -> None:
        while len(stream.missing) > self._max_missing:
            last, hole = stream.missing.pop(min(stream.missing))
            stream.forgotten = max(stream.forgotten, last)
            hole.missing = _NEVER

    def _gap(
        self,
        key: str,
        point: str | None,
        reason: GapReason,
        tail: str,
        event_time: int,
        receive_time: int,
        *,
        count: int | None = None,
        first: int | None = None,
        last: int | None = None,
        detail: str,
    ) -> Gap:
        return Gap(
            gap_id=identifier(f"{self._feed.value}/{key}/{point or ''}/{reason.value}/{tail}"),
            feed=self._feed,
            key=key,
            point=point,
            reason=reason,
            open=True,
            first=first,
            last=last,
            count=count,
            detail=detail[:2000],
            event_time=_within(event_time),
            receive_time=_within(receive_time),
        )


def _closed(gap: Gap, detail: str, event_time: int, receive_time: int) -> Gap:
    return structs.replace(
        gap, open=False, detail=detail, event_time=_within(event_time), receive_time=_within(receive_time)
    )


def _spelled(counter: str) -> str:
    """With the letters of an identifier."""
    return _NOT_IN_IDS.sub("-", counter) + "/" if counter else ""


def _of(counter: str) -> str:
    return f" on {counter}" if counter else ""


def identifier(text: str) -> str:
    """An id that stays unique when two long names leave no room for the rest."""
    if len(text) <= _IDENTIFIER_LIMIT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:40]
    return f"{text[: _IDENTIFIER_LIMIT - 41]}/{digest}"


def _within(micros: int) -> int:
    return min(max(micros, EARLIEST_TIME), LATEST_TIME - 1)
