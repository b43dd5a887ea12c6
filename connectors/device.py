"""One polled or subscribed device's way to the publisher: numbers its samples, notes its gaps, never blocks.

A device cannot be asked to say something again, so while the outlet takes nothing a bounded number of its records
waits in order; what finds no room then is counted and becomes a gap with that count as soon as there is room.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from msgspec import structs

from connectors import clock
from connectors.checks import Checks, Measured
from connectors.feed import FeedTracker, event_id
from connectors.lifecycle import Lifecycle, Profile
from connectors.outlet import Full, Outlet, Raw, Waiting
from connectors.repeats import Repeats
from schemas import topics
from schemas.base import Quality, Record
from schemas.devices import Device, Storage
from schemas.devices import DeviceState as State
from schemas.events import Event
from schemas.gaps import Feed, Gap, GapReason
from schemas.telemetry import Telemetry

log = structlog.get_logger(__name__)
_STEPS = (Storage.DIRECT, Storage.MEMORY, Storage.DISK, Storage.PAUSED)
_STATUSES = 100  # of a device that wait; the topic keeps only the newest anyway


@dataclass(frozen=True, slots=True)
class _Waiting:
    topic: topics.Topic[Any]
    record: Record
    event_id: str


@dataclass(slots=True)
class _Dropped:
    """Samples of one point that found no room: sequence numbers ``first`` to ``last``."""

    first: int
    last: int
    event_time: int


class DeviceFeed:
    """Telemetry, gaps and life cycle of one device. Used from one thread; only delivery reports come from another.

    ``sequence`` counts the samples per point from 1 since the start. The feed starts disconnected: what came before
    the connector started is not known, and the first data closes that gap. ``measured``: by point, how its values are
    converted and checked. ``valued``: whether it has values at all; of one that tells events only no values are
    missing, and :meth:`event_gaps` says what is.
    """

    def __init__(
        self,
        outlet: Outlet,
        connector: str,
        profile: Profile,
        *,
        measured: Mapping[str, Measured] | None = None,
        valued: bool = True,
        capacity: int = 10_000,
    ) -> None:
        self.device = profile.device
        self._outlet = outlet
        self._capacity = capacity
        self._valued = valued
        self._measured = measured or {}
        self._checks = Checks()
        self._life = Lifecycle(connector, profile, self._status)
        self._statuses: deque[tuple[Device, str]] = deque(maxlen=_STATUSES)
        self._tracker = FeedTracker(Feed.TELEMETRY, steady=clock.steady)
        self._sequences: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()
        self._dropped: dict[str, _Dropped] = {}
        self._repeats = Repeats()
        # Filled by the publisher's thread: records that a failed producer gave back.
        self._returned: deque[_Waiting] = deque()
        self._letters: deque[Callable[[], None]] = deque()
        self._missed: list[Gap] = []
        self._closed: deque[Gap] = deque(maxlen=16)  # gaps of the whole device that history may still fill
        started = self._disconnected(clock.now(), "the connector starts; what came before is not known")
        self._start = {gap.gap_id for gap in started}

    def sample(
        self,
        point: str,
        value: float | None,
        *,
        unit: str,
        quality: Quality = Quality.GOOD,
        reason: str = "",
        event_time: int,
        receive_time: int,
        historical: bool = False,
        raw: Raw = bytes,
    ) -> None:
        """Hand over one sample. One without a value ends the device's silence, but not the point's.

        ``historical``: the source kept it and gives it late; it says so in its reason, and ends no gap.
        ``raw``: the bytes of the source that it was made of, for a dry run.
        """
        self._sequences[point] += 1
        sequence = self._sequences[point]
        self._life.taken()
        if quality is Quality.BAD:
            self._life.failed()
        if self.full:
            self._drop(point, sequence, event_time)
            return
        self._tell_dropped(receive_time)
        if historical:
            reason = f"historical; {reason}" if reason else "historical"
        else:
            self._back(point, value, event_time, receive_time)
        record = Telemetry(
            device=self.device,
            point=point,
            value=value,
            unit=unit,
            quality=quality,
            reason=reason[:2000],
            sequence=sequence,
            event_time=event_time,
            receive_time=receive_time,
        )
        if (how := self._measured.get(point)) is not None:
            record = self._checks.apply(how, record)
        self._outlet.seen(self.device, point, raw)
        self._put(topics.telemetry, record, f"{self.device}/{point}/{event_time}/{sequence}")
        self._hand_over()

    def _back(self, point: str, value: float | None, event_time: int, receive_time: int) -> None:
        """Close the gaps that end with this sample."""
        seen = self._tracker.arrived(
            self.device,
            None if value is None else point,
            sequence=None,
            event_time=event_time,
            receive_time=receive_time,
        )
        closed = [*seen.gaps, *(structs.replace(gap, open=False, receive_time=receive_time) for gap in self._missed)]
        self._missed.clear()
        self._gaps(closed)
        self._closed.extend(gap for gap in closed if gap.point is None and gap.gap_id not in self._start)

    def event(self, record: Event, identity: str) -> bool:
        """Hand over one of the device's own events, in order with its samples; false: no room, it is lost."""
        self._life.taken()
        if self.full:
            self._life.lost()
            return False
        self._put(topics.events, record, identity)
        self._hand_over()
        return True

    def event_gaps(self, gaps: list[Gap]) -> None:
        """Hand over what is missing of the device's events, in order with them."""
        self._gaps(gaps)
        self._hand_over()

    def backfilled(self, detail: str) -> None:
        """The source's history has been read: the closed gaps of the device are written once more, with ``detail``."""
        now = clock.now()
        for gap in self._closed:
            self._put(topics.gaps, structs.replace(gap, detail=detail, receive_time=now), f"{gap.gap_id}/backfilled")
        self._closed.clear()
        self._hand_over()

    @property
    def full(self) -> bool:
        """There is room nowhere: what is sampled now is lost, so that a source that can be left alone should be."""
        return len(self._waiting) >= self._capacity

    def left_out(self, points: Iterable[str]) -> None:
        """One sample of each of ``points`` was not even read, because of :attr:`full`: counted as lost."""
        now = clock.now()
        for point in points:
            self._sequences[point] += 1
            self._drop(point, self._sequences[point], now)

    def watch(self, point: str, silence: int) -> None:
        """Expect a value of ``point`` every ``silence`` microseconds from now on."""
        self._tracker.watch(self.device, point, silence=silence, now=clock.now())

    def check_silence(self) -> None:
        """Record a gap for each watched point that has been without a value for too long."""
        self._gaps(self._tracker.silent(clock.now()))
        self._hand_over()

    def disconnected(self, detail: str) -> None:
        """The device cannot be reached; its next sample closes the gap."""
        self._life.failed()
        self._disconnected(clock.now(), detail)

    def overflowed(self, point: str, *, event_time: int, receive_time: int, detail: str) -> None:
        """The source dropped an unknown number of the point's samples; call before the sample that follows them."""
        self._gaps(
            self._tracker.overflowed(
                self.device, point, event_time=event_time, receive_time=receive_time - 1, count=None, detail=detail
            )
        )

    def missed(self, first: int, last: int, detail: str) -> None:
        """Messages ``first`` to ``last`` of the source never came; the device's next sample closes the gap."""
        if not self._valued:
            return
        now = clock.now()
        gap = Gap(
            # Cut so that the id stays within an Identifier's 200 characters whatever the device is called.
            gap_id=f"{Feed.TELEMETRY.value}/{self.device[:120]}/messages/{first}-{last}/{now}",
            feed=Feed.TELEMETRY,
            key=self.device,
            reason=GapReason.SEQUENCE,
            open=True,
            first=first,
            last=last,
            count=last - first + 1,
            detail=detail[:2000],
            event_time=now,
            receive_time=now,
        )
        self._missed.append(gap)
        self._gaps([gap])
        self._hand_over()

    def dead_letter(self, source: str, reason: str, raw: bytes, receive_time: int) -> None:
        """Put aside what could not become a sample."""
        self._life.failed()
        if len(self._letters) < self._capacity:
            self._letters.append(
                partial(
                    self._outlet.dead_letter,
                    source=source,
                    reason=reason,
                    raw=raw,
                    key=self.device,
                    receive_time=receive_time,
                )
            )
        self._hand_over()

    def describe(self, profile: Profile, measured: Mapping[str, Measured]) -> None:
        """The device has told what it is and measures: from now on it is known as that."""
        self._measured = measured
        self._life.describe(profile)
        self._hand_over()

    def state(self, state: State, why: str = "") -> None:
        """How the link stands; a change is written and logged with its reason."""
        self._life.state(state, why)
        self._hand_over()

    @property
    def idle(self) -> bool:
        """Nothing of the device waits here."""
        return not (self._waiting or self._dropped or self._returned or self._letters or self._statuses)

    def drain(self) -> None:
        """Hand over what waits, oldest first, as far as there is room. Call it a few times a second."""
        self._hand_over()
        self._life.waits(self._where())
        self._life.beat()

    def _where(self) -> Waiting:
        behind = self._outlet.waiting()
        if not self._waiting:
            return behind
        reason = behind.reason or "the way to Kafka is full"
        count = behind.records + len(self._waiting)
        if self.full:
            return Waiting(Storage.PAUSED, count, f"no room is left and samples are lost: {reason}")
        return Waiting(max(behind.storage, Storage.MEMORY, key=_STEPS.index), count, reason)

    def _hand_over(self) -> None:
        try:
            while self._returned:
                self._publish(self._returned[0])
                self._returned.popleft()
            while self._waiting or self._dropped:
                if self._waiting:
                    self._publish(self._waiting[0])
                    self._waiting.popleft()
                else:
                    self._tell_dropped(clock.now())
            while self._letters:
                self._letters[0]()
                self._letters.popleft()
            while self._statuses:
                record, identity = self._statuses[0]
                self._outlet.publish(topics.devices, self.device, record, event_id=identity)
                self._statuses.popleft()
        except Full:
            return

    def _publish(self, waiting: _Waiting) -> None:
        def done(error: str | None) -> None:
            # Runs in the publisher's thread. A record that Kafka did not take is still the only one there is.
            if error is not None:
                self._returned.append(waiting)

        self._outlet.publish(waiting.topic, self.device, waiting.record, event_id=waiting.event_id, done=done)

    def _put(self, topic: topics.Topic[Any], record: Record, identity: str) -> None:
        self._waiting.append(_Waiting(topic, record, identity))

    def _gaps(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._put(topics.gaps, gap, event_id(gap))

    def _status(self, record: Device, identity: str) -> None:
        self._statuses.append((record, identity))

    def _disconnected(self, now: int, detail: str) -> list[Gap]:
        if not self._valued:
            return []
        gaps = self._tracker.disconnected(self.device, now=now, detail=detail)
        self._gaps(gaps)
        self._hand_over()
        return gaps

    def _drop(self, point: str, sequence: int, event_time: int) -> None:
        self._life.lost()
        if dropped := self._dropped.get(point):
            dropped.last = sequence
            return
        if not self._dropped and (again := self._repeats.again("full")) is not None:
            log.warning(
                "Kafka takes nothing and the buffer is full: samples are lost",
                device=self.device,
                point=point,
                **again,
            )
        self._dropped[point] = _Dropped(sequence, sequence, event_time)

    def _tell_dropped(self, receive_time: int) -> None:
        """Gaps for what found no room; the point's next sample closes its gap."""
        dropped_points, self._dropped = self._dropped, {}
        for point, dropped in dropped_points.items():
            detail = f"samples {dropped.first} to {dropped.last} found no room while Kafka took nothing"
            self._gaps(
                self._tracker.overflowed(
                    self.device,
                    point,
                    event_time=dropped.event_time,
                    receive_time=receive_time - 1,
                    count=dropped.last - dropped.first + 1,
                    detail=detail,
                )
            )
