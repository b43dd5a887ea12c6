"""paho's client as a session needs it: set up from the settings, bounded in what it reads, and quick with messages.

paho asks the kernel three times for a message and once for each acknowledgement, reads it in some sixty steps, and
makes an object of 27 names for properties that a message seldom has. That is most of what a message costs; here plain
ones are cut out of what one read brings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from connectors.mqtt.broker import Broker, Protocol, Transport

CONNECT_SECONDS = 3.0
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we are gone without a goodbye: QoS 1, retained."""

    topic: str
    payload: bytes


class _Received(paho.MQTTMessage):
    """A message that came, without what paho makes for those that are sent: a lock to wait for their delivery."""

    def __init__(self) -> None:
        """Empty: filled in as it is read."""


class Client(paho.Client):
    """Reads much at a time, but does not begin to read a packet that is too large: paho has no bound.

    ``limit``: bytes of a packet; ``refused`` is told how many there would have been. One object serves one connection.
    """

    def __init__(self, *args: Any, limit: int, refused: Callable[[int], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit
        self._refused = refused
        self._ahead = b""
        self._at = 0
        self.halted = False
        """Set to have no further messages handed over."""

    @property
    def buffered(self) -> bool:
        """There is something to read that the kernel no longer knows of."""
        sock: Any = self.socket()
        return self._at < len(self._ahead) or (hasattr(sock, "pending") and sock.pending() > 0)

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Confirm these messages of QoS 1 in their order, with one write (MQTT 5.0, section 3.4)."""
        if acknowledged := b"".join(b"\x40\x02" + mid.to_bytes(2) for mid in mids):
            self._packet_queue(paho.PUBACK, acknowledged, 0, 0)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Hand over at most ``max_packets`` plain messages; any other packet, or a malformed one, is read by paho."""
        if self._in_packet["command"] or (deliver := self.on_message) is None:
            return super().loop_read(max_packets)
        if self._at == len(self._ahead):
            try:
                self._ahead, self._at = super()._sock_recv(_READ_BYTES), 0
            except BlockingIOError:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            except OSError:
                return super().loop_read(max_packets)  # finds the same, and says that the connection is lost
        is_v5, count = self.protocol == paho.MQTTv5, 0
        while count < max_packets and not self.halted and (found := _plain(self._ahead, self._at, self._limit, is_v5)):
            message, self._at = found
            count += 1
            with self._in_callback_mutex:  # so that what is published meanwhile is written afterwards
                deliver(self, self._userdata, message)
        if not count:
            return super().loop_read(max_packets)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self._limit:
            self._refused(bufsize)
            raise ConnectionError("a packet is too large")
        if self._at == len(self._ahead):
            self._ahead, self._at = super()._sock_recv(_READ_BYTES), 0
        begin = self._at
        self._at = min(begin + bufsize, len(self._ahead))
        return self._ahead[begin : self._at]


def _plain(ahead: bytes, at: int, limit: int, is_v5: bool) -> tuple[paho.MQTTMessage, int] | None:
    """The PUBLISH at ``at`` and where it ends (MQTT 5.0 and 3.1.1, section 3.3), if it is all there, at most ``limit``
    bytes long, well-formed, of QoS 0 or 1, and without properties; else None."""
    if at + 3 > len(ahead):
        return None
    first, size, begin = ahead[at], ahead[at + 1], at + 2
    qos = first >> 1 & 3
    if first >> 4 != 3 or qos > 1:
        return None
    if size & 0x80:
        more = ahead[begin]
        size, begin = size & 0x7F | more << 7, begin + 1
        if more & 0x80:  # 16 KiB and more
            return None
    end = begin + size
    if end > len(ahead) or size > limit or size < 2:
        return None
    topic_end = begin + 2 + (ahead[begin] << 8 | ahead[begin + 1])
    payload = topic_end + 2 * qos + is_v5
    if payload > end or topic_end == begin + 2 or (is_v5 and ahead[payload - 1]):
        return None
    message = _Received()
    message._topic, message.payload, message.properties = ahead[begin + 2 : topic_end], ahead[payload:end], None
    message.mid = ahead[topic_end] << 8 | ahead[topic_end + 1] if qos else 0
    message.qos, message.dup, message.retain = qos, bool(first & 8), bool(first & 1)
    return message, end


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
    )
    client.connect_timeout = CONNECT_SECONDS
    if config.username is not None:
        client.username_pw_set(config.username, config.password())
    if is_websocket:
        client.ws_set_options(config.websocket_path)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    return client
