"""Keeps a connection to a broker: connects, serves it, and connects again with growing waits when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol

import structlog

from connectors import clock, metrics
from connectors.connector import Backoff
from connectors.lifecycle import Lifecycle, Profile
from connectors.metrics import State
from connectors.mqtt.broker import Broker
from connectors.mqtt.outbox import Outbox
from connectors.mqtt.session import Lost, Session
from connectors.outlet import Outlet, Waiting
from connectors.repeats import Repeats
from schemas.devices import Storage

log = structlog.get_logger(__name__)
_TICK_SECONDS = 0.5
_STEADY_SECONDS = 30.0


class Reader(Protocol):
    """What a connector does with its connection. All is called from one thread."""

    def session(self) -> Session:
        """A new session, not connected yet."""

    def lost(self, why: str) -> None:
        """The connection ended, or was never made."""

    def tick(self) -> None:
        """Called about twice a second, connected or not."""

    def leave(self, session: Session) -> None:
        """Before an intended end of a live connection."""


class Link:
    """One broker for one connector, and the states of the devices behind it.

    ``outbox``: what waits for Kafka; beyond the receive maximum the socket is not read. ``lives``: by device.
    ``where``: the broker's host and port. ``holds_back``: whoever is connected is taken to read; so it does not connect
    while it could not.
    """

    def __init__(
        self,
        name: str,
        config: Broker,
        reader: Reader,
        outlet: Outlet,
        profiles: Iterable[Profile],
        *,
        holds_back: bool = False,
    ) -> None:
        self.outbox = Outbox(outlet)
        self.lives = {each.device: Lifecycle(name, each, self.outbox.status, shared=True) for each in profiles}
        self._name = name
        self._config = config
        self._reader = reader
        self._outlet = outlet
        self._repeats = Repeats()
        self._holds_back = holds_back
        self._state: State | None = None
        self._connected = False
        self._last_time = 0
        self._last_tick = 0.0
        self.where = f"{config.host}:{config.port}"

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop``; reconnects by itself."""
        backoff = Backoff(stop, ceiling=self._config.backoff_ceiling / 1e6)
        for life in self.lives.values():
            life.state(State.CONNECTING)
        try:
            while not stop.is_set():
                self._connection(backoff, stop)
                self._wait(backoff, stop)
        finally:
            self._connected = False
            self._show(State.DOWN)
            for life in self.lives.values():
                life.state(State.DOWN, "the connector stops")
            self.drain()

    def live(self) -> None:
        """The broker has taken connection and subscriptions."""
        log.info("connected to the broker", connector=self._name, broker=self.where, client_id=self._config.client_id)
        self._connected = True
        self._show(State.LIVE)

    def drain(self) -> None:
        """Hand over what waits in the outbox, and show whether Kafka keeps up."""
        if not self.outbox.drain():
            self._show(State.DEGRADED if self._connected else State.DOWN)
        elif self._connected:
            self._show(State.LIVE)

    def now(self) -> int:
        """Microseconds; strictly rising, so that two messages never have the same receive time."""
        self._last_time = max(clock.now(), self._last_time + 1)
        return self._last_time

    @property
    def _full(self) -> bool:
        return len(self.outbox) > self._config.receive_maximum

    def _connection(self, backoff: Backoff, stop: threading.Event) -> None:
        began = time.monotonic()
        session = self._reader.session()
        try:
            self._show(State.CONNECTING)
            session.connect(stop)
            self._serve(session, stop)
        except Lost as lost:
            if stop.is_set():
                return
            if time.monotonic() - began > _STEADY_SECONDS:
                backoff.reset()
                self._repeats.ended()
            self._lost(str(lost))
        finally:
            session.close()

    def _lost(self, why: str) -> None:
        if (again := self._repeats.again(why)) is not None:
            log.warning("no connection to the broker; trying again", broker=self.where, reason=why, **again)
        self._connected = False
        metrics.ERRORS.labels(self._name, "").inc()
        self._show(State.DOWN)
        for life in self.lives.values():
            life.failed()
            life.state(State.DOWN, why)
        self._reader.lost(why)
        self.drain()

    def _serve(self, session: Session, stop: threading.Event) -> None:
        while not stop.is_set():
            self._tick()
            session.round(0.05 if self.outbox else 0.2, reading=not self._full)
            self.drain()
        self._reader.leave(session)

    def _wait(self, backoff: Backoff, stop: threading.Event) -> None:
        """Between connections: gaps and what came before are still handed on."""
        until = time.monotonic() + backoff.next_delay()
        while not stop.is_set() and ((left := until - time.monotonic()) > 0 or (self._holds_back and self._full)):
            self._tick()
            self.drain()
            stop.wait(min(left, 0.2) if left > 0 else 0.05)

    def _tick(self) -> None:
        if time.monotonic() - self._last_tick < _TICK_SECONDS:
            return
        self._last_tick = time.monotonic()
        self._reader.tick()
        self.outbox.retry()
        self._tell_waiting()
        self.drain()

    def _tell_waiting(self) -> None:
        """The broker keeps what Kafka does not take."""
        behind = self._outlet.waiting()
        if self.outbox:
            reason = behind.reason or "the way to Kafka is full"
            behind = Waiting(Storage.PAUSED if self._full else Storage.MEMORY, len(self.outbox), reason)
        for life in self.lives.values():
            life.waits(behind)
            life.beat()

    def _show(self, state: State) -> None:
        """How the connection to the broker stands; the devices behind it have states of their own."""
        if self._state is not state:
            self._state = state
            metrics.set_state(self._name, "", state)
