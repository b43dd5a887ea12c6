"""paho's client as a session needs it: set up from the settings, bounded in what it reads, and quick with messages.

paho asks the kernel three times for a message and once for each acknowledgement, and makes an object of 27 names for
properties that a message seldom has. That is most of what a message costs, and is done here in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.mqtt.broker import Broker, Protocol, Transport

CONNECT_SECONDS = 3.0
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we are gone without a goodbye: QoS 1, retained."""

    topic: str
    payload: bytes


class Client(paho.Client):
    """Reads much at a time, but does not begin to read a packet that is too large: paho has no bound.

    ``limit``: bytes of a packet; ``refused`` is told how many there would have been. ``reads_ahead``: what one read
    gives is kept for the next; not over WebSocket, whose wrapper keeps it by itself.
    """

    def __init__(
        self, *args: Any, limit: int, refused: Callable[[int], None], reads_ahead: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit
        self._refused = refused
        self._reads_ahead = reads_ahead
        self._ahead = b""
        self._at = 0
        self._no_properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]

    @property
    def buffered(self) -> bool:
        """There is something to read that the kernel no longer knows of."""
        sock: Any = self.socket()
        return self._at < len(self._ahead) or (hasattr(sock, "pending") and sock.pending() > 0)

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Confirm these messages of QoS 1 in their order, with one write (MQTT 5.0, section 3.4)."""
        if acknowledged := b"".join(b"\x40\x02" + mid.to_bytes(2) for mid in mids):
            self._packet_queue(paho.PUBACK, acknowledged, 0, 0)

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self._limit:
            self._refused(bufsize)
            raise ConnectionError("a packet is too large")
        if not self._reads_ahead:
            return super()._sock_recv(bufsize)
        if self._at == len(self._ahead):
            self._ahead, self._at = super()._sock_recv(_READ_BYTES), 0
        begin = self._at
        self._at = min(begin + bufsize, len(self._ahead))
        return self._ahead[begin : self._at]

    def _handle_publish(self) -> MQTTErrorCode:
        """A message without properties is read here (MQTT 5.0 and 3.1.1, section 3.3), any other by paho."""
        command, packet = self._in_packet["command"], self._in_packet["packet"]
        qos, topic_end = command >> 1 & 3, 2 + int.from_bytes(packet[:2])
        payload = topic_end + (2 if qos else 0)
        if self.protocol == paho.MQTTv5:
            payload += 1
            if packet[payload - 1 : payload] != b"\0":
                return super()._handle_publish()
        if qos > 1 or payload > len(packet) or topic_end == 2:
            return super()._handle_publish()
        mid = int.from_bytes(packet[topic_end : topic_end + 2]) if qos else 0
        message = paho.MQTTMessage(mid, bytes(packet[2:topic_end]))
        message.qos, message.dup, message.retain = qos, bool(command & 8), bool(command & 1)
        message.payload = bytes(packet[payload:])
        message.properties = self._no_properties
        if (deliver := self.on_message) is not None:
            with self._in_callback_mutex:  # so that what is published meanwhile is written afterwards
                deliver(self, self._userdata, message)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def build(config: Broker, *, keeps_session: bool, will: Will | None, too_large: Callable[[int], None]) -> Client:
    """A client that is not connected yet and leaves every acknowledgement to its owner."""
    is_v5 = config.protocol is Protocol.V5
    is_websocket = config.transport is Transport.WEBSOCKET
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=config.client_id,
        clean_session=None if is_v5 else not keeps_session,
        protocol=paho.MQTTv5 if is_v5 else paho.MQTTv311,
        transport="websockets" if is_websocket else "tcp",
        reconnect_on_failure=False,
        manual_ack=True,
        limit=config.max_packet_bytes,
        refused=too_large,
        reads_ahead=not is_websocket,
    )
    client.connect_timeout = CONNECT_SECONDS
    if config.username is not None:
        client.username_pw_set(config.username, config.password())
    if is_websocket:
        client.ws_set_options(config.websocket_path)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    return client
