"""Leaving Kafka without waiting for one that is away."""

from __future__ import annotations

import threading

import structlog
from confluent_kafka import Consumer

log = structlog.get_logger(__name__)
_SECONDS = 1.5


def close(consumer: Consumer, name: str) -> None:
    """Close ``consumer``; when Kafka does not answer within 1.5 s, leave it to end by itself.

    ``Consumer.close`` waits up to 45 s for a coordinator that is away.
    """
    closing = threading.Thread(target=consumer.close, name=f"close-{name}", daemon=True)
    closing.start()
    closing.join(_SECONDS)
    if closing.is_alive():
        log.warning("Kafka does not answer the goodbye; the last offsets may be uncommitted", sink=name)
