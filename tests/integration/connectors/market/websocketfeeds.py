"""WebSocket feeds of an exchange: settings, and a running connector."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.connector import WebSocketConnector
from connectors.publisher import Publisher
from streams.engine.cluster import Cluster
from tests.integration.connectors.market.exchange import Exchange
from tests.integration.connectors.running import running as run_connector


def config(exchange: Exchange, **given: Any) -> WebSocketConfig:
    level = {"bids": "bids", "asks": "asks", "sequence": "seq"}
    book = {"symbol": "data.sym", "sequence": "data.to", "bids": "data.b", "asks": "data.a"}
    trade = {"symbol": "data.sym", "price": "data.p", "size": "data.q", "sequence": "data.n"}
    return WebSocketConfig.model_validate(
        {
            "name": "ws",
            "url": f"ws://127.0.0.1:{exchange.port}/feed",
            "venue": "X",
            "backoff_ceiling": 0.5,
            "instruments": [{"instrument": "HENRY-HUB", "symbol": "NG"}],
            "subscribe": ['{"op": "subscribe", "symbols": {symbols}}'],
            "snapshot": {
                "url": f"http://127.0.0.1:{exchange.http.server_address[1]}/book/{{symbol}}",
                "answer": {"kind": "snapshot", "when": {}, **level},
                "timeout": 1,
            },
            "messages": [
                {"kind": "update", "when": {"type": "book"}, **book},
                {"kind": "trade", "when": {"type": "trade"}, **trade},
                {"kind": "error", "when": {"type": "error"}},
            ],
            "max_message": 65536,
            **given,
        },
        context={"folder": Path()},
    )


def running(
    cluster: Cluster, settings: WebSocketConfig, *, patience: float = 3.0, **bounds: int
) -> AbstractContextManager[None]:
    """The feed while the block lasts. ``patience``: how long records that wait for Kafka are waited for at the end."""
    publisher = Publisher(cluster, "websocket", **bounds)
    return run_connector(partial(WebSocketConnector, [settings]), publisher, patience=patience)
