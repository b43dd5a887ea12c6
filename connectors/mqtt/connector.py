"""MQTT into Kafka: a message is acknowledged to the broker only after Kafka has acknowledged all that became of it."""

from __future__ import annotations

import threading

import paho.mqtt.client as paho

from connectors import clock, metrics
from connectors.feed import FeedTracker
from connectors.lifecycle import Profile, profile_of
from connectors.metrics import State
from connectors.mqtt.config import Device, MqttConfig
from connectors.mqtt.headers import headers
from connectors.mqtt.link import Link
from connectors.mqtt.payload import Refused
from connectors.mqtt.session import Session, Subscribe
from connectors.mqtt.translate import Said, Stated, Translator
from connectors.outlet import Done, Outlet
from schemas.base import Quality
from schemas.gaps import Feed, Gap


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
        self._tracker = FeedTracker(Feed.TELEMETRY, steady=clock.steady)
        profiles = [profile(config, device) for device in config.devices]
        self._link = Link(self.name, config, self, outlet, profiles)
        self._outbox = self._link.outbox
        prefix = "" if config.share is None else f"$share/{config.share}/"
        self._subscriptions = [Subscribe(prefix + one.template.filter) for one in config.subscriptions]
        # With every connection anew: who was away meanwhile is told by what the broker has kept.
        self._subscriptions += [Subscribe(one.template.filter, retained_always=True) for one in config.status]
        self._sees_all = config.share is None
        self._gone: set[str] = set()  # devices that have said so, or the broker in their place

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop``; reconnects by itself."""
        for device in self._config.devices if self._sees_all else ():
            self._tracker.watch(device.name, None, silence=device.silence, now=self._link.now())
        self._link.run(stop)

    def session(self) -> Session:
        """A new session, not connected yet."""
        self._gone.clear()
        return Session(
            self._config,
            self._subscriptions,
            self._take,
            self._live,
            expiry=self._config.session_expiry,
        )

    def lost(self, why: str) -> None:
        """A gap per device, which its next message closes."""
        now = self._link.now()
        for device in self._config.devices if self._sees_all else ():
            self._hand_on_gaps(self._tracker.disconnected(device.name, now=now, detail=why))

    def tick(self) -> None:
        """Look for silent devices."""
        gaps = self._tracker.silent(self._link.now())
        for gap in gaps:
            self._link.lives[gap.key].state(State.STALE, gap.detail)
        self._hand_on_gaps(gaps)

    def leave(self, session: Session) -> None:
        """What Kafka takes within a moment need not come again after a restart."""
        self._outlet.flush(1.0)
        session.round(0.0, reading=False)

    def _live(self, _session: Session) -> None:
        """The broker has taken us; from now on it is the devices that are waited for."""
        self._link.live()
        why = f"nothing has come from it yet since {self._link.where} is connected; is it on, does it send?"
        for device, life in self._link.lives.items():
            # What had waited for us may have come already.
            if life.current in (State.CONNECTING, State.DOWN) and device not in self._gone:
                life.state(State.CONNECTING, why)

    def _take(self, session: Session, message: paho.MQTTMessage) -> None:
        receive_time = self._link.now()
        payload = bytes(message.payload)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        try:
            stated = self._translator.stated(topic, payload)
            if stated is not None:
                self._state(session, message, topic, stated, receive_time)
                return
            found = self._translator.translate(topic, payload, retained=message.retain, receive_time=receive_time)
        except Refused as refused:
            pending = session.expect(message, 1)
            self._refuse(topic, str(refused), payload, receive_time, pending.settle if pending else None)
            self._link.drain()
            return
        life = self._link.lives[found.device]
        whole = [(self._arrived(found.device, said, message, receive_time), said.records) for said in found.said]
        if not message.retain:  # what the broker had kept says nothing about whether the device is alive
            life.state(State.LIVE)
        count = bool(found.refused) + sum(len(gaps) + len(records) for gaps, records in whole)
        pending = session.expect(message, count)
        settle = pending.settle if pending else None
        about = headers(message)
        for gaps, records in whole:
            for gap in gaps:
                self._outbox.gap(gap, settle)
            for record, record_id in records:
                life.taken()
                if record.quality is Quality.BAD:
                    life.failed()
                self._outlet.seen(record.device, record.point, lambda: payload)
                self._outbox.sample(record, record_id, settle, about)
        if found.refused:
            self._refuse(topic, found.refused, payload, receive_time, settle)
        self._link.drain()

    def _arrived(self, device: str, said: Said, message: paho.MQTTMessage, receive_time: int) -> list[Gap]:
        if message.retain:
            return []
        # A repeat is written again under its old id: only Kafka's acknowledgement of the first is proof, and the
        # broker repeats what it was not acknowledged.
        return self._tracker.arrived(
            device,
            said.point,
            sequence=said.sequence if self._sees_all else None,
            event_time=said.records[0][0].event_time,
            receive_time=receive_time,
            counter=said.counter,
        ).gaps

    def _refuse(self, topic: str, reason: str, payload: bytes, receive_time: int, settle: Done | None) -> None:
        metrics.ERRORS.labels(self.name, "").inc()
        self._outbox.letter(f"mqtt:{topic}", reason, payload, receive_time, settle)

    def _state(
        self, session: Session, message: paho.MQTTMessage, topic: str, stated: Stated, receive_time: int
    ) -> None:
        """The device has said whether it is there, or the broker in its place; what it measures it has not said."""
        life = self._link.lives[stated.device]
        said = f"{topic} says {stated.words!r}"
        gaps: list[Gap] = []
        if not stated.online:
            self._gone.add(stated.device)
            why = f"{said}: the device has left, or the broker has lost it (its last will)"
            life.state(State.DOWN, why)
            if self._sees_all:
                gaps = self._tracker.disconnected(stated.device, now=receive_time, detail=why)
        elif not message.retain:
            self._tracker.alive(stated.device, receive_time)
            if life.current is not State.LIVE:
                life.state(State.CONNECTING, f"{said}; no value has come since")
        pending = session.expect(message, len(gaps))
        for gap in gaps:
            self._outbox.gap(gap, pending.settle if pending else None)
        self._link.drain()

    def _hand_on_gaps(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self._outbox.gap(gap)
        self._link.drain()


def profile(config: MqttConfig, device: Device) -> Profile:
    """What is told of a device beside its samples: every point that a subscription may bring of it."""
    points = {
        point.name: (point.name, point.unit, point.range)
        for subscription in config.subscriptions
        if subscription.device in (None, device.name)
        for point in subscription.points
    }
    return profile_of(device.name, f"mqtt-{config.protocol}", device, points.values())
