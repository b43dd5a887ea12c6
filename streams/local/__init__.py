"""Real services for a laptop, from wheels: Apache Kafka, Redis, an MQTT broker.

They need the extra ``local``, which a host that only runs connectors, processors or sinks goes without; so nothing
here is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.local.errors import ServiceError

if TYPE_CHECKING:
    from streams.local.services import Addresses, LocalServices

__all__ = ["Addresses", "LocalServices", "ServiceError"]


def __getattr__(name: str) -> Any:
    """``LocalServices`` and ``Addresses``, on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from streams.local import services

    return getattr(services, name)
