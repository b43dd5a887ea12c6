"""One connection to an MQTT broker, driven by the connector's own thread, with acknowledgements in order.

MQTT 5.0, section 4.6: PUBACKs are sent in the order in which the PUBLISHes came. A session object is one generation:
what is settled after its connection has ended changes nothing, because packet ids mean something else on the next one.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from connectors.mqtt.broker import Broker, Protocol
from connectors.mqtt.client import CONNECT_SECONDS, Will, build
from connectors.network import in_words
from connectors.tls import TlsFiles

log = structlog.get_logger(__name__)
READS_PER_ROUND = 100
TOPIC_ALIASES = 1000
"""Topics that a broker may send as numbers (MQTT 5.0, section 3.3.2.3.4); they live as long as the connection."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A topic filter, and whether retained messages come with every connection or only once per session."""

    filter: str
    qos: int = 1
    retained_always: bool = False


def _options(one: Subscribe) -> SubscribeOptions:
    retained = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
    return SubscribeOptions(
        qos=one.qos, retainHandling=retained if one.retained_always else SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
    )


class Lost(Exception):
    """The connection ended, or was never made; the message says how and what to do about it."""


class Pending:
    """One message that the broker keeps until it is acknowledged.

    ``waiting``: records made of it that are not in Kafka yet. Settled from the publisher's poll thread, read by the
    connector's.
    """

    __slots__ = ("_failed", "_session", "mid", "waiting")

    def __init__(self, session: Session, mid: int, waiting: int) -> None:
        self._session = session
        self._failed = False
        self.mid = mid
        self.waiting = waiting

    def settle(self, error: str | None) -> None:
        """One of its records is in Kafka, or never will be."""
        if error is not None:
            self._session.fail(f"Kafka did not take a message, so the broker must send it again: {error}")
        self.waiting -= 1
        if self.waiting == 0 or error is not None:
            self._session.wake()


class Session:
    """Connects, subscribes, hands over every message and acknowledges what is settled. Only :meth:`fail` and
    :meth:`wake` may be called from other threads.

    ``expiry``: microseconds for which the broker keeps what was not acknowledged; 0: nothing is kept, each connection
    begins anew.
    """

    def __init__(
        self,
        config: Broker,
        subscriptions: Sequence[Subscribe],
        on_message: Callable[[Session, paho.MQTTMessage], None],
        on_live: Callable[[Session], None],
        *,
        expiry: int,
        will: Will | None = None,
    ) -> None:
        self._config = config
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._on_live = on_live
        self._expiry = expiry
        self._aliases: dict[int, bytes] = {}
        self._pending: deque[Pending] = deque()
        self._failure: str | None = None
        self._live = False
        self._asleep = False
        self._received = 0
        self._reading = True
        self._where = f"{config.host}:{config.port}"
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._tls = TlsFiles(config.tls, config.host) if config.tls else None
        self._client = build(config, keeps_session=expiry > 0, will=will, too_large=self._too_large)
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message

    def expect(self, message: paho.MQTTMessage, records: int) -> Pending | None:
        """Acknowledge ``message`` once ``records`` of it are settled; None for QoS 0, which nobody acknowledges."""
        if message.qos == 0:
            return None
        pending = Pending(self, message.mid, records)
        self._pending.append(pending)
        return pending

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker still keeps for us."""
        return len(self._pending)

    def fail(self, reason: str) -> None:
        """End the connection at the next round; the broker sends again what was not acknowledged."""
        self._failure = self._failure or reason
        self._client.halted = True

    def wake(self) -> None:
        """Let the connector's thread look at what was settled, if it sleeps."""
        if not self._asleep:
            return
        self._asleep = False  # one call is enough
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: nobody is there to wake
            self._wake_out.send(b"\0")

    def connect(self, stop: threading.Event) -> None:
        """Connect, subscribe and wait for the broker's word on both. Raises :class:`Lost`."""
        config = self._config
        extra: dict[str, Any] = {}
        if config.protocol is Protocol.V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = self._expiry // 1_000_000
            properties.ReceiveMaximum = config.receive_maximum
            properties.MaximumPacketSize = config.max_packet_bytes
            properties.TopicAliasMaximum = TOPIC_ALIASES
            extra = {"clean_start": self._expiry == 0, "properties": properties}
        try:
            if self._tls is not None:
                self._client.tls_set_context(self._tls.context())
            self._client.connect(config.host, config.port, keepalive=max(1, config.keepalive // 1_000_000), **extra)
        except (OSError, ValueError) as error:  # ValueError: TlsError
            why = in_words(error) if self._tls is None else self._tls.explained(error, config.port)
            raise Lost(f"cannot connect to {self._where}: {why}") from error
        deadline = time.monotonic() + CONNECT_SECONDS
        while not self._live and not stop.is_set():
            if time.monotonic() > deadline:
                raise Lost(f"{self._where} took the connection but did not answer in time; is it an MQTT broker?")
            self.round(0.1)

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> paho.MQTTMessageInfo:
        """Hand a message of our own over; it is written with this or the next round."""
        return self._client.publish(topic, payload, qos=qos, retain=retain)

    def round(self, timeout: float, *, reading: bool = True) -> None:
        """Read, acknowledge and write once; wait at most ``timeout`` seconds for something to do.

        With ``reading`` false only acknowledgements and keep-alives are sent. Raises :class:`Lost`.
        """
        self._reading = reading
        self._asleep = True  # before the look at what is settled: what is settled after it finds it so, and wakes
        self._acknowledge()
        sock: Any = self._client.socket()
        if sock is None:
            raise Lost(self._failure or f"the connection to {self._where} was closed")
        buffered = self._client.buffered
        events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        if events:
            self._selector.register(sock, events)
        try:
            ready = {key.fileobj: mask for key, mask in self._selector.select(0 if buffered and reading else timeout)}
        finally:
            self._asleep = False
            if events:
                self._selector.unregister(sock)
        if self._wake_in in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake_in.recv(4096)
        mask = ready.get(sock, 0)
        if reading and (buffered or mask & selectors.EVENT_READ):
            self._read()
        self._acknowledge()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        if self._live and self._tls is not None and self._tls.renewed():
            self.fail("the certificate files were renewed: connecting anew to use them")
        if self._failure is not None:
            raise Lost(self._failure)

    def close(self) -> None:
        """Say goodbye if there is a connection, and free the sockets."""
        self._client.disconnect()
        self._client.loop_write()
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()

    def _read(self) -> None:
        until = self._received + READS_PER_ROUND
        while (before := self._received) < until:
            self._client.loop_read(until - before)
            if self._client._in_messages:  # would be kept for as long as the broker likes
                self.fail(f"{self._where} sent a message with QoS 2, though it was asked for QoS 1 at most")
            if self._received == before or self._failure is not None:
                break

    def _acknowledge(self) -> None:
        settled = []
        while self._pending and self._pending[0].waiting == 0 and self._failure is None:
            settled.append(self._pending.popleft().mid)
        self._client.acknowledge(settled)

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._received += 1
        alias = getattr(message.properties, "TopicAlias", None)
        if alias is not None and not self._named(message, alias):
            return
        self._on_message(self, message)

    def _too_large(self, size: int) -> None:
        largest = self._config.max_packet_bytes
        self.fail(
            f"{self._where} sent a packet of {size} bytes; max_packet_bytes is {largest} (an MQTT 3.1.1 broker must be "
            "told so in its own settings, or it sends it again and again)"
        )

    def _named(self, message: paho.MQTTMessage, alias: int) -> bool:
        """Put the topic in place of its number, which paho hands over as it came."""
        if not 0 < alias <= TOPIC_ALIASES:
            self.fail(f"{self._where} sent topic alias {alias}, though it may use 1 to {TOPIC_ALIASES}")
            return False
        if message._topic:
            self._aliases[alias] = message._topic
        elif alias in self._aliases:
            message.topic = self._aliases[alias]
        else:
            self.fail(f"{self._where} sent topic alias {alias} without having said what it stands for")
            return False
        return True

    def _connected(
        self, client: paho.Client, _data: Any, _flags: paho.ConnectFlags, reason: ReasonCode, _props: Properties | None
    ) -> None:
        if reason.is_failure:
            self.fail(f"{self._where} refused the connection: {reason} (check username, password, client_id, protocol)")
            return
        if self._config.protocol is Protocol.V5:
            client.subscribe([(one.filter, _options(one)) for one in self._subscriptions])
        else:
            client.subscribe([(one.filter, one.qos) for one in self._subscriptions])

    def _subscribed(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _props: Properties | None
    ) -> None:
        for one, reason in zip(self._subscriptions, reasons, strict=False):
            if reason.is_failure:
                log.error(
                    "the broker refused a subscription; nothing comes from it until its access rules allow it",
                    broker=self._where,
                    filter=one.filter,
                    reason=str(reason),
                )
        self._live = True
        self._on_live(self)

    def _disconnected(
        self,
        _client: paho.Client,
        _data: Any,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _props: Properties | None,
    ) -> None:
        # Not every broker says so when it puts one client out for another with the same id.
        if self._tls is not None and not self._live:
            own = self._config.tls.cert_file if self._config.tls else None
            hint = (
                f"perhaps it refuses our certificate {own}" if own else "perhaps it wants a certificate: tls.cert_file"
            )
            self.fail(f"the connection to {self._where} ended before it began: {reason}; {hint}")
            return
        if not self._live:
            hint = "before it said that we may come in; is it an MQTT broker, does it want TLS?"
            self.fail(f"the connection to {self._where} ended: {reason}, {hint}")
            return
        if not self._reading:
            self.fail(f"the connection to {self._where} was not read, because too much waits for Kafka: {reason}")
            return
        hint = f"if this happens again and again, another client may be using the client_id {self._config.client_id!r}"
        self.fail(f"the connection to {self._where} ended: {reason}; {hint}")
