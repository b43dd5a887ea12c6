"""Which devices and feeds are not as they should be, since when and why, and what rests on them. Pure."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from processors.wording import clock
from schemas import topics
from schemas.base import Quality
from schemas.devices import REMOVED, Device, DeviceState, Storage
from schemas.positions import MarkStatus, Position
from schemas.rules import Telepoint
from schemas.telemetry import Telemetry
from streams import pipeline
from streams.commands.board import CLOSED_IN_WORDS, Board
from streams.commands.describe import plain

STALE = 10_000_000
"""A price or a sample older than this (microseconds) is shown as old."""
FORGOTTEN = 86_400_000_000
"""A device that was not told of for so long (microseconds) is history."""
_TODAY = 12 * 3_600_000_000
_NAMES = 3


class Standing(enum.IntEnum):
    """How a device stands, the worst first. Up to ``CONNECTING`` nothing comes from it."""

    UNWATCHED = 0
    DOWN = 1
    STALE = 2
    CONNECTING = 3
    DEGRADED = 4
    PARTLY = 5
    LATE = 6
    LIVE = 7


_OF_STATE = {
    DeviceState.DOWN: Standing.DOWN,
    DeviceState.STALE: Standing.STALE,
    DeviceState.CONNECTING: Standing.CONNECTING,
    DeviceState.DEGRADED: Standing.DEGRADED,
}
_LATE = (Storage.DISK, Storage.PAUSED)
"""Not in memory: a moment's wait there is nothing to be told of."""
_WORD = {Standing.UNWATCHED: "not watched", Standing.PARTLY: "live, but not all of it", Standing.LATE: "live, but late"}
_NEXT = {Standing.UNWATCHED: "gridtape run connectors --config FILE", Standing.LATE: "gridtape doctor"}
_LOOK = "gridtape connect check FILE"


def history(device: Device, now: int) -> bool:
    """Nobody wants to hear of it any more at ``now`` (microseconds): it was taken out, or not told of for a day."""
    removed = device.state is DeviceState.DOWN and device.reason == REMOVED
    return removed or device.expires < now - FORGOTTEN


def standing(device: Device, now: int) -> Standing:
    """By its own status, at ``now`` (microseconds). What is past its ``expires`` nobody watches."""
    if device.expires < now:
        return Standing.UNWATCHED
    if device.state is DeviceState.LIVE:
        return Standing.LATE if device.storage in _LATE else Standing.LIVE
    return _OF_STATE[device.state]


def reason(device: Device, how: Standing) -> str:
    """Why it stands so, in words."""
    if how is Standing.UNWATCHED:
        return f"not served by any running {plain(device.connector)} connector"
    if how is Standing.LATE:
        return f"{device.waiting:,} records wait ({device.storage.value}): {plain(device.storage_reason)}"
    return plain(device.reason) or "nothing has come of it yet"


def advice(how: Standing) -> str:
    """The command that goes on from here."""
    return _NEXT.get(how, _LOOK)


def named(names: Sequence[str], most: int = _NAMES) -> str:
    """``a, b, c and 17 more``."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return plain(", ".join(names[:most])) + more


def when(micros: int, now: int) -> str:
    """``since 06:47:03Z``; with the date where that was not today."""
    if now - micros < _TODAY:
        return f"since {clock(micros)}"
    return f"since {datetime.fromtimestamp(micros // 1_000_000, UTC):%Y-%m-%d %H:%MZ}"


class Member(NamedTuple):
    """A device. ``since``: microseconds. ``rests``: rules, positions, limits that cannot be relied on because of it."""

    device: str
    since: int
    rests: tuple[str, ...]


@dataclass(frozen=True)
class Trouble:
    """Devices of one connector that stand alike for one reason."""

    members: tuple[Member, ...]
    standing: Standing
    why: str

    @property
    def devices(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.device for one in self.members)

    @property
    def since(self) -> int:
        """Of the first of them, microseconds."""
        return min(one.since for one in self.members)

    @property
    def rests(self) -> tuple[str, ...]:
        """What rests on any of them."""
        return tuple(dict.fromkeys(what for one in self.members for what in one.rests))

    @property
    def word(self) -> str:
        """How they stand."""
        return _WORD.get(self.standing, self.standing.name.lower())

    def rank(self) -> tuple[bool, bool, Standing, int, int, tuple[str, ...]]:
        """The worst first: from which nothing comes, on which something rests, how it stands, how many, how long."""
        return (
            self.standing > Standing.CONNECTING,
            not self.rests,
            self.standing,
            -len(self.devices),
            self.since,
            self.devices,
        )

    def told(self, now: int, most: int = _NAMES) -> str:
        """Who (``most`` of them by name), how, since when and why, in one line."""
        first, last = when(self.since, now), when(max(one.since for one in self.members), now)
        span = first if first == last else f"{first}, the last {last}"
        return f"{named(self.devices, most)} {self.word} {span}: {self.why}"


@dataclass(frozen=True)
class Fleet:
    """All devices that somebody wants to hear of. ``unpriced``: instruments whose feed brings no prices now."""

    live: int
    total: int
    troubles: tuple[Trouble, ...]
    """The worst first."""
    unpriced: frozenset[str]

    @property
    def tally(self) -> str:
        """``197 of 200 live``, and how many of them are not whole."""
        marred = sum(len(one.devices) for one in self.troubles if one.standing > Standing.DEGRADED)
        return f"{self.live:,} of {self.total:,} live" + (f", {marred:,} not quite" if marred else "")


def survey(board: Board, now: int) -> Fleet:
    """Every device that the board knows, at ``now`` (microseconds)."""
    devices = [one for one in board.devices.values() if not history(one, now)]
    lacks = _lacks(board, now)
    groups: dict[tuple[Standing, str, str], list[Member]] = defaultdict(list)
    live, unpriced = 0, set[str]()
    resting = _Resting(board)
    for device in sorted(devices, key=lambda one: one.device):
        how = standing(device, now)
        live += how >= Standing.LATE
        lacking = lacks.get(device.device, {}) | _unpriced(board, device)
        if how is Standing.LIVE and lacking:
            how = Standing.PARTLY
        if how is Standing.LIVE:
            continue
        why, since = reason(device, how), device.since
        if how is Standing.UNWATCHED:
            since = device.event_time
        elif how is Standing.PARTLY:
            since = min(at for _, at in lacking.values())
            why = _said(device, lacking, now)
        everything = how <= Standing.CONNECTING
        stale = {p.point for p in device.points if _old(board, p.point, now)} if everything else set(lacking)
        if topics.ticks in _brings(device):
            unpriced |= stale
        rests = tuple(resting.on(device, None if everything else set(lacking), stale))
        groups[how, device.connector, why].append(Member(plain(device.device), since, rests))
    troubles = [Trouble(tuple(members), how, why) for (how, _, why), members in groups.items()]
    return Fleet(live, len(devices), tuple(sorted(troubles, key=Trouble.rank)), frozenset(unpriced))


def _brings(device: Device) -> pipeline.Topics:
    return pipeline.CONNECTORS.get(device.connector, (topics.telemetry,))


def _old(board: Board, instrument: str, now: int) -> bool:
    tick = board.ticks.get(instrument)
    return tick is None or now - tick.receive_time > STALE or board.unknown_tick(instrument) is not None


Lacks = dict[str, tuple[str, int]]
"""What of a device is missing: point or instrument to the word for it and since when (microseconds)."""


def _lacks(board: Board, now: int) -> Mapping[str, Lacks]:
    """By device, its points whose newest value says nothing about the present; what its open gaps say, too."""
    found: dict[str, Lacks] = defaultdict(dict)
    for (device, point), sample in board.telemetry.items():
        if word := _lack(board, sample, now):
            found[device][point] = word
    for (feed, key, point), gap in board.gaps.items():
        if feed in CLOSED_IN_WORDS:
            found[key][point or feed.value] = (gap.reason.value, gap.event_time)
    return found


def _lack(board: Board, sample: Telemetry, now: int) -> tuple[str, int] | None:
    if gap := board.unknown_sample(sample.device, sample.point):
        return gap.reason.value, gap.event_time
    if sample.valid_until is not None and sample.valid_until < now:
        return "past its validity", sample.valid_until
    if sample.value is None or sample.quality is Quality.BAD:
        return "bad", sample.event_time
    return None


def _unpriced(board: Board, device: Device) -> Lacks:
    """Of a market feed: the instruments that its open gaps make unknown."""
    if topics.ticks not in _brings(device):
        return {}
    gaps = {point.point: board.unknown_tick(point.point) for point in device.points}
    return {name: (gap.reason.value, gap.event_time) for name, gap in gaps.items() if gap is not None}


def _said(device: Device, lacking: Lacks, now: int) -> str:
    """``2 of 8 missing: output (silence), valve (past its validity)``."""
    of = f" of {len(device.points):,}" if len(device.points) >= len(lacking) else ""
    words = [f"{name} ({word})" for name, (word, _) in sorted(lacking.items(), key=lambda item: (item[1][1], item[0]))]
    return f"{len(lacking):,}{of} missing: {named(words)}"


class _Resting:
    """What rests on which data."""

    def __init__(self, board: Board) -> None:
        self._rules: dict[tuple[str, str | None], list[str]] = defaultdict(list)
        for rule in board.rules.values():
            for operand in rule.operands() if rule.active else ():
                place = (
                    (operand.device, operand.point) if isinstance(operand, Telepoint) else (operand.instrument, None)
                )
                self._rules[place].append(f"rule {rule.rule_id}")
        self._held: dict[str, list[Position]] = defaultdict(list)
        for position in board.positions.values():
            if position.quantity:
                self._held[position.instrument].append(position)
        self._limits: dict[tuple[str, str, str | None], list[str]] = defaultdict(list)
        for exposure in board.exposures.values():
            for use in exposure.limits:
                self._limits[exposure.book, exposure.currency, use.instrument].append(f"limit {use.limit_id}")

    def on(self, device: Device, points: Iterable[str] | None, stale: set[str]) -> list[str]:
        """What rests on ``points`` of a device (None: on any), of a market feed on ``stale`` instruments."""
        brings = _brings(device)
        if topics.fills in brings:
            return self._booked([point.point for point in device.points])
        if topics.ticks in brings:
            found = self._booked(sorted(stale))
            return found + [rule for name in sorted(stale) for rule in self._rules.get((name, None), ())]
        of = set(points) if points is not None else None
        return [
            rule
            for (name, point), rules in self._rules.items()
            if name == device.device and point is not None and (of is None or point in of)
            for rule in rules
        ]

    def _booked(self, instruments: Sequence[str]) -> list[str]:
        held = [position for name in instruments for position in self._held.get(name, ())]
        found = [f"position {one.book} {one.instrument}" for one in held]
        for one in held:
            for instrument in (None, one.instrument):
                found += self._limits.get((one.book, one.currency, instrument), ())
        return found


def unpriced(position: Position, fleet: Fleet) -> bool:
    """Whether the mark of a position looks live although its feed brings no prices."""
    return position.mark_status is MarkStatus.LIVE and position.instrument in fleet.unpriced
