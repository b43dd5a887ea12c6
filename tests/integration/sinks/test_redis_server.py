from __future__ import annotations

import json
import threading
from pathlib import Path

import redis

from schemas import topics
from schemas.base import Coordinates
from sinks.config import RedisConfig
from sinks.redis import RedisStreams
from sinks.sink import Delivery
from streams.local.redis import Redis


def entries(url: str, prefix: str) -> list[dict[bytes, bytes]]:
    client = redis.Redis.from_url(url)
    found = [fields for _id, fields in client.xrange(f"{prefix}:{{alerts}}")]
    client.close()
    return found


def test_stream_when_records_come_holds_each_once_byte_by_byte(bench, until, make_alert, redis_url):
    prefix = bench.cluster.prefix
    bench.write(topics.alerts, "oil", make_alert(1), make_alert(2), make_alert(1), make_alert(3))
    bench.write(topics.alerts, "oil", make_alert(9), ids=False)
    with bench.running(RedisStreams(RedisConfig(url=redis_url, prefix=prefix))):
        until(lambda: len(entries(redis_url, prefix)) == 4)
    found = entries(redis_url, prefix)
    assert [e[b"id"] for e in found[:3]] == [b"oil/ticks/0/1", b"oil/ticks/0/2", b"oil/ticks/0/3"]
    assert found[0][b"json"] == topics.alerts.encode(make_alert(1))
    assert found[0][b"key"] == b"oil"
    assert json.loads(found[0][b"headers"])["ce_id"] == "oil/ticks/0/1"
    # Without an id of its own, a record's place in Kafka is its id.
    assert found[3][b"id"] == found[3][b"at"] == str(Coordinates.parse(found[3][b"at"].decode())).encode()


def test_stream_when_the_same_batch_comes_again_does_not_grow_and_ids_are_forgotten_in_time(make_alert, redis_url):
    config = RedisConfig(url=redis_url, prefix="again", remember=77)
    sink, stop = RedisStreams(config), threading.Event()
    batch = [
        Delivery(
            topics.alerts,
            make_alert(n),
            Coordinates(topic="alerts", partition=0, offset=n),
            "oil",
            {"ce_id": f"a{n}"},
            topics.alerts.encode(make_alert(n)),
            0,
        )
        for n in range(50)
    ]
    for _ in range(3):
        sink.handle(batch, stop)
    assert len(entries(redis_url, "again")) == 50
    client = redis.Redis.from_url(redis_url)
    assert 0 < client.ttl("again:{alerts}:seen:a7") <= 77
    client.close()


def test_stream_when_redis_is_away_waits_and_loses_nothing(bench, until, make_alert, tmp_path: Path):
    with Redis(tmp_path / "redis") as server:
        url, port = server.url, server.port
    sink = RedisStreams(RedisConfig(url=url, prefix="p"))
    bench.write(topics.alerts, "oil", *(make_alert(i) for i in range(3)))
    with bench.running(sink):
        from sinks import metrics

        retries = metrics.RETRIES.labels("redis")._value
        before = retries.get()
        until(lambda: retries.get() >= before + 2)
        with Redis(tmp_path / "redis", port=port):
            until(lambda: len(entries(url, "p")) == 3)
            assert [e[b"id"] for e in entries(url, "p")] == [f"oil/ticks/0/{i}".encode() for i in range(3)]
