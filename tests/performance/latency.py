"""From a tick's creation to the committed output that it led to, as a read_committed reader sees it."""

from __future__ import annotations

import statistics
import threading
import time

import msgspec

from schemas import topics
from streams.engine.cluster import Cluster
from tests.performance.load import fresh, now, tick


class _Output(msgspec.Struct):
    """Of an output, the time that it took over from its tick."""

    event_time: int


def latency(cluster: Cluster, output: str, names: list[str], rate: float, seconds: float) -> dict[str, float]:
    """Write ``rate`` ticks a second to the cluster's ticks; percentiles of milliseconds until they are in ``output``.

    Until the first output, and for a third of ``seconds`` after it, nothing is counted: connections and compilers warm
    up. Raises RuntimeError when fewer than 100 outputs come, within a minute at most.
    """
    reader = cluster.reader(fresh("latency"), auto_offset_reset="latest", fetch_wait_max_ms=100)
    ready, stop = threading.Event(), threading.Event()
    reader.subscribe([output], on_assign=lambda *_: ready.set())
    opened = time.perf_counter()
    while not ready.is_set():
        if time.perf_counter() - opened > 30:
            raise RuntimeError(f"the reader of {output} was given no partition within 30 s")
        reader.consume(1, 0.1)
    samples: list[tuple[int, float]] = []
    decode = msgspec.json.Decoder(_Output).decode

    def read() -> None:
        while not stop.is_set():
            for message in reader.consume(1, 0.1) + reader.consume(5_000, 0):
                arrived = now()
                if not message.error():
                    at = decode(message.value() or b"").event_time
                    samples.append((at, (arrived - at) / 1000))

    thread = threading.Thread(target=read)
    thread.start()
    producer = cluster.publisher(linger_ms=0)
    topic, encode = cluster.named("ticks"), topics.ticks.encode
    origin, opened = now(), time.perf_counter()
    began: float | None = None
    sent = last = 0
    while time.perf_counter() - opened < 60 and (began is None or time.perf_counter() - began < seconds * 4 / 3):
        due = opened + sent / rate - time.perf_counter()
        if due > 0:
            time.sleep(due)
        name = names[sent % len(names)]
        last = now()
        producer.produce(topic, encode(tick(name, 60.0 + sent % 7, sent, last)), name)
        producer.poll(0)
        sent += 1
        if began is None and samples and samples[-1][0] >= origin:
            began, counted = time.perf_counter(), now() + int(seconds / 3 * 1e6)
    producer.flush(30)
    for _ in range(150):  # who falls behind is waited for: its late outputs count
        if max((at for at, _ in samples[-5_000:]), default=0) >= last:
            break
        time.sleep(0.1)
    stop.set()
    thread.join()
    reader.close()
    steady = sorted(took for at, took in samples if began is not None and at >= counted)
    if len(steady) < 100:
        raise RuntimeError(f"only {len(steady)} outputs of ticks came to {output}: too few for a percentile")
    cut = statistics.quantiles(steady, n=100)
    return {"samples": len(steady), "p50": cut[49], "p95": cut[94], "p99": cut[98], "max": steady[-1]}
