"""paho's client as a session needs it: set up from the settings, and bounded in what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from connectors.mqtt.broker import Broker, Protocol, Transport

CONNECT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we are gone without a goodbye: QoS 1, retained."""

    topic: str
    payload: bytes


class Bounded(paho.Client):
    """Does not begin to read a packet that is too large: paho has no bound, and asks for a whole body at once.

    ``limit``: bytes; ``refused`` is told how many there would have been.
    """

    def __init__(self, *args: Any, limit: int, refused: Callable[[int], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = limit
        self._refused = refused

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > self._limit:
            self._refused(bufsize)
            raise ConnectionError("a packet is too large")
        return super()._sock_recv(bufsize)


def build(config: Broker, *, keeps_session: bool, will: Will | None, too_large: Callable[[int], None]) -> Bounded:
    """A client that is not connected yet and leaves every acknowledgement to its owner."""
    is_v5 = config.protocol is Protocol.V5
    is_websocket = config.transport is Transport.WEBSOCKET
    client = Bounded(
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
