"""The life cycle of one device as records and metrics: what it is, how its link stands, since when, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from connectors import clock, metrics
from connectors.fields import Identified, Range
from connectors.outlet import Waiting
from connectors.repeats import Repeats
from schemas.devices import Device, DevicePoint, DeviceState, Storage

log = structlog.get_logger(__name__)
HEARTBEAT = 10_000_000
"""Microseconds between two records of a device whose state does not change."""
_STEADY = 60_000_000  # microseconds live after which the next failure is a first one
_WELL = (DeviceState.LIVE, DeviceState.CONNECTING)
_MISSED = 3  # heartbeats after which a record has expired


@dataclass(frozen=True, slots=True)
class Profile:
    """What is configured of a device, whatever its protocol: the part of its record that does not change."""

    device: str
    protocol: str
    site: str = ""
    asset: str = ""
    book: str | None = None
    points: tuple[DevicePoint, ...] = ()


def profile_of(
    device: str, protocol: str, where: Identified, points: Iterable[tuple[str, str, Range | None]]
) -> Profile:
    """The profile of a configured device; ``points``: name, unit and range of each."""
    described = tuple(
        DevicePoint(point=name, unit=unit, minimum=bounds.minimum, maximum=bounds.maximum)
        if bounds
        else DevicePoint(point=name, unit=unit)
        for name, unit, bounds in points
    )
    return Profile(device, protocol, where.site, where.asset, where.book, described)


class Lifecycle:
    """One device's state and counters. Not thread-safe: used by the connector's thread.

    ``emit`` gets each record and its event id, and must not block. The first record is written by the first state;
    :meth:`beat` is to be called a few times a second. ``shared``: its link is that of many devices, and whoever keeps
    it logs that it fails again, once and not for each of them.
    """

    def __init__(
        self,
        connector: str,
        profile: Profile,
        emit: Callable[[Device, str], None],
        *,
        heartbeat: int = HEARTBEAT,
        shared: bool = False,
    ) -> None:
        self.profile = profile
        self._connector = connector
        self._emit = emit
        self._heartbeat = heartbeat
        self._shared = shared
        self._repeats = Repeats()
        self._entered = clock.steady()
        self._started = clock.now()
        self._last = self._started
        self._beaten = clock.steady()
        self._since = self._started
        self._state: DeviceState | None = None
        self._reason = ""
        self._waiting = Waiting()
        self._records = self._errors = self._lost = self._connects = self._shown = 0
        self._taken = metrics.RECORDS.labels(connector, profile.device)
        self._failed = metrics.ERRORS.labels(connector, profile.device)

    @property
    def current(self) -> DeviceState | None:
        """The state; None before the first."""
        return self._state

    def state(self, state: DeviceState, why: str = "", *, person: bool = False) -> None:
        """The link is in ``state``; a change is written, and logged with its reason.

        Another reason alone is told with the next heartbeat, one where there was none at once. Failing again is
        logged as :class:`~connectors.repeats.Repeats` says. ``person``: trying again alone will not help.
        """
        if state is self._state:
            before, self._reason = self._reason, why[:2000]
            if why and not before:
                self._write()
            if why and state not in _WELL and not self._shared:
                self._log(state, why, person)
            return
        now = clock.steady()
        if self._state is DeviceState.LIVE and now - self._entered > _STEADY:
            self._repeats.ended()
        self._entered = now
        self._log(state, why, person)
        self._state, self._reason, self._since = state, why[:2000], clock.now()
        self._connects += state is DeviceState.LIVE
        metrics.set_state(self._connector, self.profile.device, state)
        self._write()

    def _log(self, state: DeviceState, why: str, person: bool) -> None:
        if (again := self._repeats.again(state.value, why)) is None:
            return
        say = log.error if person else log.info if state in _WELL else log.warning
        say(
            f"{self._connector} device is {state.value}",
            device=self.profile.device,
            before=self._state or "unknown",
            why=why,
            **again,
        )

    def describe(self, profile: Profile) -> None:
        """The same device, known better; a change is written."""
        if profile != self.profile:
            self.profile = profile
            self._write()

    def taken(self) -> None:
        """A record came from the source, good or bad. The metric follows with the next :meth:`beat`."""
        self._records += 1

    def _show_taken(self) -> None:
        self._taken.inc(self._records - self._shown)
        self._shown = self._records

    def failed(self) -> None:
        """A read failed, a value was bad, or the connection broke."""
        self._errors += 1
        self._failed.inc()

    def lost(self, count: int = 1) -> None:
        """Records found room nowhere."""
        self._lost += count
        metrics.LOST.labels(self._connector, self.profile.device).inc(count)

    def waits(self, waiting: Waiting) -> None:
        """Where the device's records wait for Kafka; another step is written, a mere change of the number is not."""
        before, self._waiting = self._waiting, waiting
        if waiting.storage is before.storage:
            return
        if (again := self._repeats.again("waits", waiting.storage.value)) is not None:
            (log.info if waiting.storage is Storage.DIRECT else log.warning)(
                "records of a device wait for Kafka elsewhere than before",
                device=self.profile.device,
                where=waiting.storage.value,
                before=before.storage.value,
                why=waiting.reason,
                **again,
            )
        self._write()

    def beat(self) -> None:
        """Show what was taken, and write the heartbeat when it is due."""
        self._show_taken()
        if clock.steady() - self._beaten >= self._heartbeat:
            self._write()

    def _write(self) -> None:
        self._show_taken()
        if self._state is None:
            return
        profile = self.profile
        # Strictly rising, so that two changes within a microsecond have two ids.
        now = self._last = max(clock.now(), self._last + 1)
        self._beaten = clock.steady()
        record = Device(
            device=profile.device,
            connector=self._connector,
            protocol=profile.protocol,
            site=profile.site,
            asset=profile.asset,
            book=profile.book,
            points=profile.points,
            state=self._state,
            reason=self._reason,
            since=self._since,
            storage=self._waiting.storage,
            storage_reason=self._waiting.reason[:2000],
            waiting=self._waiting.records,
            records=self._records,
            errors=self._errors,
            lost=self._lost,
            connects=self._connects,
            started=self._started,
            expires=now + _MISSED * self._heartbeat,
            event_time=now,
            receive_time=now,
        )
        self._emit(record, f"{profile.device}/{self._connector}/{now}")
