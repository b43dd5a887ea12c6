"""Sparkplug B into Kafka, as a host application that says by STATE whether it is there.

The specification wants a clean session, and edge nodes publish with QoS 0: what is lost on the way is not sent again.
It is noticed by the sequence numbers, recorded as a gap, and made up for by a rebirth.
"""

from __future__ import annotations

import threading
import time
from typing import assert_never

import msgspec
import paho.mqtt.client as paho
import structlog
from prometheus_client import Counter

from connectors import clock, metrics
from connectors.feed import FeedTracker
from connectors.lifecycle import profile_of
from connectors.metrics import State
from connectors.mqtt.client import Will
from connectors.mqtt.link import Link
from connectors.mqtt.session import Pending, Session, Subscribe
from connectors.outlet import Outlet
from connectors.sparkplug.address import parse, state_topic
from connectors.sparkplug.config import SparkplugConfig
from connectors.sparkplug.effects import Ask, Cause, Down, Dropped, Outcome, Sample, Up
from connectors.sparkplug.host import Host
from connectors.sparkplug.payload import Limits, Refused, decode, rebirth_request
from connectors.sparkplug.translate import Translator
from schemas.base import Quality
from schemas.gaps import Feed, Gap
from schemas.telemetry import Telemetry

log = structlog.get_logger(__name__)
REBIRTHS = Counter("gridtape_sparkplug_rebirth_requests_total", "Rebirth requests sent to edge nodes.", ["node"])
DROPPED = Counter("gridtape_sparkplug_dropped_total", "Messages and metrics that were not taken.", ["node"])
_GOODBYE_SECONDS = 1.0
_BACK = {Cause.DEATH: State.DOWN, Cause.DISCONNECTED: State.DOWN, Cause.LOSS: State.STALE}
_Record = tuple[Gap, None] | tuple[Telemetry, str]


class SparkplugConnector:
    """One host application on one broker. Single-threaded but for the settling of messages."""

    name = "sparkplug"

    def __init__(self, config: SparkplugConfig, outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet
        self._limits = Limits(config.max_payload_bytes, config.max_metrics)
        self._translator = Translator(config)
        self._tracker = FeedTracker(Feed.TELEMETRY, steady=clock.steady)
        self._host = Host(
            (device.scope for device in config.devices),
            reorder_timeout=config.reorder_timeout,
            rebirth_interval=config.rebirth_interval,
        )
        self._devices = {device.scope: device for device in config.devices}
        self._nodes = {device.scope.node: None for device in config.devices}
        self._state_topic = state_topic(config.host_id)
        self._subscriptions = [
            Subscribe(self._state_topic, retained_always=True),
            *(Subscribe(node.filter, retained_always=True) for node in self._nodes),
        ]
        self._link = Link(
            self.name,
            config,
            self,
            outlet,
            (
                profile_of(one.name, "sparkplug-b", one, ((p.name, p.unit, p.range) for p in one.points))
                for one in config.devices
            ),
            holds_back=True,  # what edge nodes keep for a host they send it as soon as STATE says that it is there
        )
        self._outbox = self._link.outbox
        self._session: Session | None = None
        self._session_time = 0
        self._leaving = False

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop``; reconnects by itself."""
        now = self._link.now()
        for device in self._devices.values():
            if device.silence is not None:
                self._tracker.watch(device.name, None, silence=device.silence, now=now)
            detail = "the connector starts; what came before is not known"
            for gap in self._tracker.disconnected(device.name, now=now, detail=detail):
                self._outbox.gap(gap)
        self._link.run(stop)

    def session(self) -> Session:
        """A new session with our death as its will (Sparkplug 3.0.0, section 5.4)."""
        self._session_time = self._link.now() // 1000
        self._leaving = False
        return Session(
            self._config,
            self._subscriptions,
            self._take,
            self._live,
            expiry=0,
            will=Will(self._state_topic, self._state(online=False)),
        )

    def lost(self, why: str) -> None:
        """Nothing is known of any device until it is born again."""
        self._session = None
        now = self._link.now()
        self._perform(self._host.disconnected(why))
        for device in self._devices.values():
            for gap in self._tracker.disconnected(device.name, now=now, detail=why):
                self._outbox.gap(gap)

    def tick(self) -> None:
        """Missing messages that have not come in time, requests that are due, and silent devices."""
        self._perform(self._host.tick(clock.steady()))
        for gap in self._tracker.silent(self._link.now()):
            self._link.lives[gap.key].state(State.STALE, gap.detail)
            self._outbox.gap(gap)

    def leave(self, session: Session) -> None:
        """Publish our death before the connection ends: a will is not sent after a goodbye."""
        self._outlet.flush(1.0)
        self._leaving = True
        self._session_time = self._link.now() // 1000
        told = session.publish(self._state_topic, self._state(online=False), qos=1, retain=True)
        deadline = time.monotonic() + _GOODBYE_SECONDS
        while not told.is_published() and time.monotonic() < deadline:
            session.round(0.1)

    def _live(self, session: Session) -> None:
        """Our birth is the first that we publish, at once after the subscriptions."""
        session.publish(self._state_topic, self._state(online=True), qos=1, retain=True)
        self._session = session
        self._host.connected(clock.steady())
        self._link.live()

    def _state(self, *, online: bool) -> bytes:
        return msgspec.json.encode({"online": online, "timestamp": self._session_time})

    def _take(self, session: Session, message: paho.MQTTMessage) -> None:
        receive_time = self._link.now()
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        pending = session.expect(message, 1)
        address = parse(topic)
        if address is None:
            if topic == self._state_topic:
                self._own_state(session, bytes(message.payload))
            self._finish(pending, [])
            return
        raw = bytes(message.payload)
        verb, scope = address
        try:
            payload = decode(raw, self._limits, is_retained=message.retain)
        except Refused as refused:
            self._finish(pending, [], letter=(topic, str(refused), raw, receive_time))
            self._perform(self._host.malformed(verb, scope, clock.steady()))
        else:
            self._perform(self._host.message(verb, scope, payload, clock.steady(), pending), raw, topic)
        self._link.drain()

    def _own_state(self, session: Session, payload: bytes) -> None:
        """Somebody, the will of an earlier connection as a rule, says that we are not there: say that we are."""
        try:
            said = msgspec.json.decode(payload, type=dict[str, object])
        except msgspec.MsgspecError:
            said = {}
        if self._leaving or said.get("online") is True:
            if said.get("online") is True and said.get("timestamp") != self._session_time:
                log.warning("another host application says it is there under our host_id", topic=self._state_topic)
            return
        session.publish(self._state_topic, self._state(online=True), qos=1, retain=True)

    def _perform(self, outcomes: list[Outcome], raw: bytes = b"", topic: str = "") -> None:
        for outcome in outcomes:
            now = self._link.now()
            records: list[_Record] = []
            letters: list[str] = []
            for effect in outcome.effects:
                if isinstance(effect, Sample):
                    try:
                        records += self._sample(effect, now)
                    except Refused as refused:
                        letters.append(str(refused))
                elif isinstance(effect, Up):
                    self._link.lives[self._devices[effect.scope].name].state(State.LIVE)
                elif isinstance(effect, Down):
                    records += self._down(effect)
                elif isinstance(effect, Ask):
                    self._ask(effect)
                elif isinstance(effect, Dropped):
                    # A broker can make up any number of nodes, and each label is kept for ever.
                    DROPPED.labels(str(effect.node) if effect.node in self._nodes else "").inc()
                    letters += [effect.why] if effect.letter else []
                else:
                    assert_never(effect)
            pending = outcome.token if isinstance(outcome.token, Pending) else None
            why = "; ".join(dict.fromkeys(letters))
            self._finish(pending, records, letter=(topic, why, raw, now) if letters else None)

    def _finish(
        self, pending: Pending | None, records: list[_Record], *, letter: tuple[str, str, bytes, int] | None = None
    ) -> None:
        """Hand on what became of a message; it is acknowledged when all of that is in Kafka."""
        settle = None
        if pending is not None:
            # Nothing of it has been handed on yet, so nobody else touches the number.
            pending.waiting = len(records) + (letter is not None)
            settle = pending.settle
        for record, identity in records:
            if isinstance(record, Gap):
                self._outbox.gap(record, settle)
            else:
                self._outbox.sample(record, identity or "", settle)
        if letter is not None:
            metrics.ERRORS.labels(self.name, "").inc()
            topic, why, raw, receive_time = letter
            self._outbox.letter(f"sparkplug:{topic}", why, raw, receive_time, settle)

    def _sample(self, sample: Sample, now: int) -> list[_Record]:
        found: list[_Record] = []
        for record, identity in self._translator.translate(sample, now):
            life = self._link.lives[record.device]
            life.taken()
            if record.quality is Quality.BAD:
                life.failed()
            if not sample.metric.is_historical:  # what is old says nothing about whether the device is alive
                seen = self._tracker.arrived(
                    record.device,
                    None if record.value is None else record.point,
                    sequence=None,
                    event_time=record.event_time,
                    receive_time=now,
                )
                found += [(gap, None) for gap in seen.gaps]
                life.state(State.LIVE)
            found.append((record, identity))
        return found

    def _down(self, down: Down) -> list[_Record]:
        """A gap, and for each point a record that says that its value holds no more."""
        device = self._devices[down.scope]
        now = self._link.now()
        self._link.lives[device.name].state(_BACK[down.cause], down.detail)
        gaps = (
            self._tracker.missed(
                device.name, now=now, detail=down.detail, first=down.first, last=down.last, count=down.count
            )
            if down.cause is Cause.LOSS
            else self._tracker.disconnected(device.name, now=now, detail=down.detail, event_time=down.time)
        )
        found: list[_Record] = [(gap, None) for gap in gaps]
        now = self._link.now()
        for point in device.points:
            record = self._translator.stale(down.scope, point.name, point.unit, down.time, down.detail, now)
            found.append((record, f"{device.name}/{point.name}/stale/{record.event_time}"))
        return found

    def _ask(self, ask: Ask) -> None:
        if self._session is None:
            return
        log.info("asking an edge node for its births", node=str(ask.node), why=ask.why)
        REBIRTHS.labels(str(ask.node)).inc()
        self._session.publish(ask.node.commands, rebirth_request(self._link.now() // 1000))
