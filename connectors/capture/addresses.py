"""Where the addresses of a protocol stand in the settings, so that its connections can be led elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from connectors.capture.dialects import FIX, MQTT_WEB, SPARKPLUG, SPARKPLUG_WEB, WEB, Dialect
from connectors.capture.wire import Access, Entry
from connectors.config import Config
from connectors.fields import Tls
from connectors.market.fix.config import FixConfig
from connectors.market.websocket.config import WebSocketConfig
from connectors.mqtt.broker import Broker, Transport
from connectors.opcua.config import DEFAULT_PORT, OpcUaServer
from connectors.tls import TlsFiles

Place = Callable[[str, int, Access, Dialect | None], int]
"""Host, port, access and dialect of a device → the local port to connect to instead."""
_KEEPALIVE = 3_600_000_000  # microseconds: pings would come at other times when played back
_ANY_TIME = 10**17
_NO_FILE = Path(":memory:")
_PLAIN_SCHEMES = {"wss": "ws", "https": "http"}


def redirected(config: Config, place: Place, *, played: bool = False) -> Config:
    """``config`` with every address led through ``place``; connectors that cannot be played back are left out.

    ``played``: to a recording, whose times are past. FIX sessions, which begin at 1, count in memory.
    """
    ports: dict[tuple[str, int, Dialect | None], int] = {}  # units of one gateway share a connection, and so they must

    def port_of(host: str, port: int, tls: Tls | None, dialect: Dialect | None = None) -> int:
        where = (host, port, dialect)
        if where not in ports:
            ports[where] = place(host, port, TlsFiles(tls, host) if tls is not None else None, dialect)
        return ports[where]

    def there(host: str, port: int, tls: Tls | None, dialect: Dialect | None = None) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": port_of(host, port, tls, dialect), "tls": None}

    def web(url: str, feed: WebSocketConfig) -> str:
        parts = urlsplit(url)
        host, encrypted = parts.hostname or "", parts.scheme in ("wss", "https")
        own = feed.tls if host == urlsplit(feed.url).hostname else feed.tls.model_copy(update={"server_name": None})
        port = port_of(host, parts.port or (443 if encrypted else 80), own if encrypted else None, WEB)
        return urlunsplit((_PLAIN_SCHEMES.get(parts.scheme, parts.scheme), f"127.0.0.1:{port}", *parts[2:]))

    def websocket(feed: WebSocketConfig) -> WebSocketConfig:
        by = feed.snapshot
        if by is not None and by.url is not None:
            by = by.model_copy(update={"url": web(by.url, feed)})
        return feed.model_copy(update={"url": web(feed.url, feed), "snapshot": by, "heartbeat": _KEEPALIVE})

    def fix(session: FixConfig) -> FixConfig:
        led = there(session.host, session.port, session.tls, FIX) | {"store": _NO_FILE}
        return session.model_copy(update=led | ({"clock_tolerance": _ANY_TIME} if played else {}))

    def opcua(server: OpcUaServer) -> OpcUaServer:
        path = "/" + secrets.token_urlsafe(16)
        port = place(server.host, urlsplit(server.url).port or DEFAULT_PORT, Entry(server, path), None)
        url = f"opc.tcp://127.0.0.1:{port}{path}"
        return server.model_copy(update={"url": url, "security": None, "login": None})

    modbus = [
        one.model_copy(update=there(one.host, one.port, one.tls)) for one in config.modbus if one.host is not None
    ]
    changes: dict[str, Any] = {
        "modbus": modbus,
        "opcua": [opcua(one) for one in config.opcua],
        "websocket": [websocket(one) for one in config.websocket],
        "fix": [fix(one) for one in config.fix if one.reset],
    }
    if (mqtt := config.mqtt) is not None:
        led = there(mqtt.host, mqtt.port, mqtt.tls, MQTT_WEB if _in_web(mqtt) else None)
        changes["mqtt"] = mqtt.model_copy(update=led | {"keepalive": _KEEPALIVE})
    if (sparkplug := config.sparkplug) is not None:
        led = there(sparkplug.host, sparkplug.port, sparkplug.tls, SPARKPLUG_WEB if _in_web(sparkplug) else SPARKPLUG)
        changes["sparkplug"] = sparkplug.model_copy(update=led | {"keepalive": _KEEPALIVE})
    return Config(store=config.store).model_copy(update=changes)


def unrecorded(config: Config) -> list[str]:
    """What :func:`redirected` leaves out, and why."""
    found = []
    if config.market is not None:
        found.append("market: there is no wire")
    found += [f"{one.name}: there is no wire" for one in config.recorded]
    found += [f"{one.name}: a serial line of this machine" for one in config.modbus if one.host is None]
    return found + [
        f"{one.name}: its numbers go on where they were (reset = false)" for one in config.fix if not one.reset
    ]


def _in_web(broker: Broker) -> bool:
    return broker.transport is Transport.WEBSOCKET
