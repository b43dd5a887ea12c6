"""Listens to a broker under a name of its own, without a session that is kept, and bounded in all it keeps."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import paho.mqtt.client as paho
from tomlkit.items import Table

from connectors import clock
from connectors.discovery.found import NotFound
from connectors.mqtt.broker import Broker, Protocol
from connectors.mqtt.discovery.heard import Heard, Payload
from connectors.mqtt.payload import LIMIT
from connectors.mqtt.session import Lost, Session, Subscribe

MOST_TOPICS = 20_000
MOST_BYTES = 64 << 20
KEPT = 10
"""Payloads of a topic that are looked at."""
_TOPIC_COST = 500  # bytes of our own for each


@dataclass
class Recorder:
    """What came. ``enough``: why no more is taken; empty: there is room."""

    most_topics: int = MOST_TOPICS
    most_bytes: int = MOST_BYTES
    enough: str = ""
    messages: int = 0
    _payloads: dict[str, list[Payload]] = field(default_factory=dict)
    _live: dict[str, int] = field(default_factory=dict)
    _bytes: int = 0

    def take(self, topic: str, raw: bytes, at: int, *, retained: bool) -> None:
        """One message. What there is no room for ends it."""
        self.messages += 1
        kept = self._payloads.get(topic)
        if kept is None:
            if len(self._payloads) >= self.most_topics:
                self.enough = f"there are more than {self.most_topics} topics: --filter chooses some of them"
                return
            kept = self._payloads[topic] = []
            self._live[topic] = 0
            self._bytes += len(topic) + _TOPIC_COST
        self._live[topic] += not retained
        if len(kept) < KEPT:
            # One byte more than can be read says that it is too much.
            kept.append(Payload(at, raw[: LIMIT + 1], retained))
            self._bytes += len(kept[-1].raw)
        if self._bytes > self.most_bytes:
            self.enough = f"more than {self.most_bytes >> 20} MiB have come: --filter chooses some of the topics"

    def topics(self, first: int) -> list[str]:
        """The topics in the order in which they came, from the ``first`` on."""
        return list(islice(self._payloads, first, None))

    def heard(self) -> list[Heard]:
        """Each topic with its first payloads."""
        return [Heard(topic, tuple(kept), self._live[topic]) for topic, kept in self._payloads.items()]


@dataclass(frozen=True)
class Hearing:
    """What was heard. ``version``: what was spoken; ``seconds``: how long; ``enough``: why no longer."""

    version: Protocol
    seconds: float
    heard: list[Heard]
    enough: str

    def put_version(self, section: Table) -> None:
        """Say in the ``section`` what the broker speaks, unless it says so already or need not."""
        if self.version is not Protocol.V5 and "protocol" not in section:
            section["protocol"] = self.version.value


Asks = Callable[[list[str]], Iterable[tuple[str, bytes]]]
"""Gets the topics that are new, and gives messages to be published (topic and payload)."""


def listen(
    broker: Broker, filters: Sequence[str], seconds: float, stop: threading.Event, asks: Asks | None = None
) -> Hearing:
    """Take what comes until ``stop``, for ``seconds`` at most.

    A broker that does not take MQTT 5 is asked with 3.1.1, unless the settings name a version. Raises NotFound.
    """
    versions = [broker.protocol]
    if "protocol" not in broker.model_fields_set:
        versions = [Protocol.V5, Protocol.V311]
    recorder = Recorder()
    failure: Lost | None = None
    for version in versions:
        named = {"protocol": version, "client_id": f"gridtape-discover-{secrets.token_hex(4)}"}
        began = time.monotonic()
        try:
            _listen(broker.model_copy(update=named), filters, began + seconds, stop, recorder, asks)
        except Lost as lost:
            failure = failure or lost
            if recorder.messages:
                recorder.enough = str(lost)
            elif lost.__cause__ is None:
                continue  # somebody is there, and may know the older version
            else:
                break
        return Hearing(version, time.monotonic() - began, recorder.heard(), recorder.enough)
    raise NotFound(str(failure)) from failure


def _listen(
    broker: Broker,
    filters: Sequence[str],
    until: float,
    stop: threading.Event,
    recorder: Recorder,
    asks: Asks | None,
) -> None:
    last = asked = 0

    def take(_session: Session, message: paho.MQTTMessage) -> None:
        nonlocal last
        last = max(clock.now(), last + 1)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no filter of ours could name it
        if not recorder.enough:
            recorder.take(topic, bytes(message.payload), last, retained=message.retain)

    # QoS 0: nothing is confirmed, and nothing waits at the broker for us.
    wanted = [Subscribe(one, qos=0, retained_always=True) for one in filters]
    session = Session(broker, wanted, take, lambda _session: None, expiry=0)
    try:
        session.connect(stop)
        while not stop.is_set() and not recorder.enough and (left := until - time.monotonic()) > 0:
            session.round(min(left, 0.2))
            if asks is not None and (new := recorder.topics(asked)):
                asked += len(new)
                for topic, payload in asks(new):
                    session.publish(topic, payload)
    finally:
        session.close()
