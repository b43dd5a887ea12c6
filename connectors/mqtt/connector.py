"""MQTT into Kafka: a message is acknowledged to the broker only after Kafka has acknowledged all that became of it."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable

import paho.mqtt.client as paho
import structlog

from connectors import clock, metrics
from connectors.connector import Backoff
from connectors.feed import FeedTracker, event_id
from connectors.lifecycle import Lifecycle, Profile, profile_of
from connectors.metrics import State
from connectors.mqtt.config import Device as DeviceConfig
from connectors.mqtt.config import MqttConfig
from connectors.mqtt.payload import Refused
from connectors.mqtt.session import Lost, Session
from connectors.mqtt.translate import Translator
from connectors.outlet import Full, Outlet, Waiting
from schemas import topics
from schemas.base import Quality
from schemas.devices import Device, Storage
from schemas.gaps import Feed, Gap

log = structlog.get_logger(__name__)
_TICK_SECONDS = 0.5
_STEADY_SECONDS = 30.0


class MqttConnector:
    """Reads one broker. Single-threaded but for the settling of messages, which comes from the publisher's thread.

    What Kafka cannot take yet waits in an outbox. It stays small, since the broker sends no more than the receive
    maximum ahead of the acknowledgements; should a broker send more (QoS 0), the socket is not read until there is
    room again.
    """

    name = "mqtt"

    def __init__(self, config: MqttConfig, outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet
        self._translator = Translator(config)
        self._tracker = FeedTracker(Feed.TELEMETRY)
        self._outbox: deque[Callable[[], None]] = deque()
        self._refused_gaps: deque[Gap] = deque()
        self._lives = {
            device.name: Lifecycle(self.name, profile(config, device), self._tell) for device in config.devices
        }
        self._statuses: dict[str, tuple[Device, str]] = {}
        self._state_of_link: State | None = None
        self._connected = False
        self._last_time = 0
        self._last_tick = 0.0
        self._where = f"{config.host}:{config.port}"

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop``; reconnects by itself."""
        backoff = Backoff(stop, ceiling=self._config.backoff_ceiling / 1e6)
        for device in self._config.devices:
            self._tracker.watch(device.name, None, silence=device.silence, now=self._now())
            self._lives[device.name].state(State.CONNECTING)
        try:
            self._stay_connected(backoff, stop)
        finally:
            self._connected = False
            self._link(State.DOWN)
            for life in self._lives.values():
                life.state(State.DOWN, "the connector stops")
            self._drain()

    def _stay_connected(self, backoff: Backoff, stop: threading.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            session = Session(self._config, self._take, self._live)
            try:
                self._link(State.CONNECTING)
                session.connect(stop)
                self._serve(session, stop)
            except Lost as lost:
                if stop.is_set():
                    return
                self._interrupted(str(lost))
                if time.monotonic() - began > _STEADY_SECONDS:
                    backoff.reset()
            finally:
                session.close()
            self._wait(backoff, stop)

    def _serve(self, session: Session, stop: threading.Event) -> None:
        while not stop.is_set():
            self._tick()
            session.round(0.05 if self._outbox else 0.2, reading=len(self._outbox) <= self._config.receive_maximum)
            self._drain()
        # What Kafka takes within a moment need not come again after a restart.
        self._outlet.flush(1.0)
        session.round(0.0, reading=False)

    def _wait(self, backoff: Backoff, stop: threading.Event) -> None:
        """Between connections: gaps and what came before are still handed on."""
        until = time.monotonic() + backoff.next_delay()
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._tick()
            self._drain()
            stop.wait(min(left, 0.2))

    def _live(self) -> None:
        log.info("connected to the broker", broker=self._where, client_id=self._config.client_id)
        self._connected = True
        self._link(State.LIVE)

    def _interrupted(self, why: str) -> None:
        log.warning("no connection to the broker; trying again", broker=self._where, reason=why)
        self._connected = False
        metrics.ERRORS.labels(self.name, "").inc()
        self._link(State.DOWN)
        now = self._now()
        for device in self._config.devices:
            self._lives[device.name].failed()
            self._lives[device.name].state(State.DOWN, why)
            self._hand_on_gaps(self._tracker.disconnected(device.name, now=now, detail=why))

    def _tick(self) -> None:
        if time.monotonic() - self._last_tick < _TICK_SECONDS:
            return
        self._last_tick = time.monotonic()
        gaps = self._tracker.silent(self._now())
        for gap in gaps:
            self._lives[gap.key].state(State.STALE, gap.detail)
        self._hand_on_gaps(gaps)
        self._hand_on_gaps([self._refused_gaps.popleft() for _ in range(len(self._refused_gaps))])
        self._tell_waiting()

    def _take(self, session: Session, message: paho.MQTTMessage) -> None:
        receive_time = self._now()
        payload = bytes(message.payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        try:
            record, record_id, sequence = self._translator.translate(
                topic, payload, retained=message.retain, receive_time=receive_time
            )
        except Refused as refused:
            metrics.ERRORS.labels(self.name, "").inc()
            pending = session.expect(message, 1)
            self._outbox.append(
                functools.partial(
                    self._outlet.dead_letter,
                    source=f"mqtt:{topic}",
                    reason=str(refused),
                    raw=payload,
                    receive_time=receive_time,
                    done=pending.settle if pending else None,
                )
            )
            self._drain()
            return
        life = self._lives[record.device]
        life.taken()
        if record.quality is Quality.BAD:
            life.failed()
        self._outlet.seen(record.device, record.point, payload)
        gaps = []
        if not message.retain:  # what the broker had kept says nothing about whether the device is alive
            # A repeat is written again under its old id: only Kafka's acknowledgement of the first is proof, and the
            # broker repeats what it was not acknowledged.
            gaps = self._tracker.arrived(
                record.device,
                record.point,
                sequence=sequence,
                event_time=record.event_time,
                receive_time=receive_time,
            ).gaps
            life.state(State.LIVE)
        pending = session.expect(message, 1 + len(gaps))
        settle = pending.settle if pending else None
        for gap in gaps:
            self._outbox.append(functools.partial(self._publish_gap, gap, settle))
        self._outbox.append(
            functools.partial(
                self._outlet.publish, topics.telemetry, record.device, record, event_id=record_id, done=settle
            )
        )
        self._drain()

    def _hand_on_gaps(self, gaps: list[Gap]) -> None:
        self._outbox.extend(functools.partial(self._publish_gap, gap, None) for gap in gaps)
        self._drain()

    def _publish_gap(self, gap: Gap, settle: Callable[[str | None], None] | None) -> None:
        def done(error: str | None) -> None:
            if error is not None:
                self._refused_gaps.append(gap)  # the broker will not tell us of it a second time
            if settle is not None:
                settle(error)

        self._outlet.publish(topics.gaps, gap.key, gap, event_id=event_id(gap), done=done)

    def _drain(self) -> None:
        try:
            while self._outbox:
                self._outbox[0]()
                self._outbox.popleft()
            while self._statuses:
                device, (record, identity) = next(iter(self._statuses.items()))
                self._outlet.publish(topics.devices, device, record, event_id=identity)
                del self._statuses[device]
        except Full:
            self._link(State.DEGRADED if self._connected else State.DOWN)
            return
        if self._connected:
            self._link(State.LIVE)

    def _tell(self, record: Device, identity: str) -> None:
        """Of each device the newest status is enough: that is all that its topic keeps."""
        self._statuses[record.device] = (record, identity)

    def _tell_waiting(self) -> None:
        """The broker keeps what Kafka does not take; beyond the receive maximum the socket is not read."""
        behind = self._outlet.waiting()
        if self._outbox:
            paused = len(self._outbox) > self._config.receive_maximum
            reason = behind.reason or "the way to Kafka is full"
            behind = Waiting(Storage.PAUSED if paused else Storage.MEMORY, len(self._outbox), reason)
        for life in self._lives.values():
            life.waits(behind)
            life.beat()
        self._drain()

    def _link(self, state: State) -> None:
        """How the connection to the broker stands; the devices behind it have states of their own."""
        if self._state_of_link is not state:
            self._state_of_link = state
            metrics.set_state(self.name, "", state)

    def _now(self) -> int:
        """Microseconds; strictly rising, so that two messages never have the same receive time."""
        self._last_time = max(clock.now(), self._last_time + 1)
        return self._last_time


def profile(config: MqttConfig, device: DeviceConfig) -> Profile:
    """What is told of a device beside its samples: every point that a subscription may bring of it."""
    points = {
        point.name: (point.name, point.unit, point.range)
        for subscription in config.subscriptions
        if subscription.device in (None, device.name)
        for point in subscription.points
    }
    return profile_of(device.name, f"mqtt-{config.protocol}", device, points.values())
