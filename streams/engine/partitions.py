"""Which partition a route belongs to: murmur2, as Java clients do it, so that every producer agrees.

Own code because confluent-kafka does not expose librdkafka's partitioner, and an explicit partition is needed where
the key holds more than the route. Source: org.apache.kafka.common.utils.Utils.murmur2 (public algorithm by
A. Appleby, seed 0x9747b28c), checked against librdkafka's murmur2_random partitioner in the integration tests.
"""

from __future__ import annotations

from functools import lru_cache

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """32-bit murmur2 of ``data``, unsigned."""
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    tail = data[whole:]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_of(route: str, partitions: int) -> int:
    """Partition of a route among ``partitions``."""
    return (murmur2(route.encode()) & 0x7FFFFFFF) % partitions
