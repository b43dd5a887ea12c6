"""Real services for a laptop, from wheels: Apache Kafka, Redis, an MQTT broker."""

from streams.local.errors import ServiceError
from streams.local.services import Addresses, LocalServices

__all__ = ["Addresses", "LocalServices", "ServiceError"]
