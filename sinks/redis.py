"""Records to Redis streams, each exactly once as long as Redis remembers its id."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas import topics
from schemas.topics import Topic
from sinks.config import RedisConfig
from sinks.sink import Delivery, Unavailable

# One script is one step for Redis: there is no moment at which an id is remembered and its entry not written.
_ADD = """
if redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then
  return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*',
    'id', ARGV[3], 'key', ARGV[4], 'at', ARGV[5], 'json', ARGV[6], 'headers', ARGV[7])
end
return false
"""


class RedisStreams:
    """Adds alerts, orders, fills and rejections to the streams ``PREFIX:{TOPIC}``.

    Entry fields: ``id`` (idempotency key), ``key`` (message key), ``at`` (coordinates in Kafka), ``json`` (the record,
    byte by byte as in Kafka), ``headers`` (CloudEvents headers as a JSON object). A record that comes again within
    ``remember`` seconds is not added again. While Redis is away, the sink waits and nothing is lost.
    """

    name = "redis"
    topics: tuple[Topic[Any], ...] = (topics.alerts, topics.orders, topics.fills, topics.rejections)
    batch_rows = 500
    batch_seconds = 0.0
    attempts: int | None = None

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._client: redis.Redis = redis.Redis.from_url(
            config.url,
            socket_timeout=1.5,
            socket_connect_timeout=1.5,
            # The runner tries again, and watches for the end meanwhile.
            retry=Retry(NoBackoff(), 0),
            **({"password": password} if (password := config.password()) is not None else {}),
        )
        self._add = self._client.register_script(_ADD)

    def handle(self, batch: list[Delivery], _stop: threading.Event) -> None:
        """Add the records in order, in one round trip. Raises Unavailable for whatever Redis answers but success."""
        pipeline = self._client.pipeline(transaction=False)
        for delivery in batch:
            # The braces make Redis Cluster keep a stream and its ids on one node, as the script needs.
            stream = f"{self._config.prefix}:{{{delivery.topic.name}}}"
            self._add(
                keys=[stream, f"{stream}:seen:{delivery.event_id}"],
                args=[
                    self._config.remember,
                    self._config.max_entries,
                    delivery.event_id,
                    delivery.key,
                    str(delivery.at),
                    delivery.raw,
                    msgspec.json.encode(delivery.headers),
                ],
                client=pipeline,
            )
        try:
            pipeline.execute()
        except redis.RedisError as error:
            # Also wrong rights or a full memory: it needs a person, and until then nothing may be passed over.
            raise Unavailable(f"Redis at {self._config.where}: {error}") from error
