"""What becomes of what librdkafka logs by itself: hundreds of lines a second from one process while Kafka is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from confluent_kafka.admin import AdminClient

from connectors.repeats import Seldom
from streams.engine.cluster import Cluster

_ROUND_SECONDS = 1.0


def quiet(cluster: Cluster) -> Cluster:
    """The same cluster, of which librdkafka complains to nobody: what a command finds out, it says in words."""
    return replace(cluster, complaints={"log_level": 0})


@contextmanager
def one_voice(cluster: Cluster) -> Iterator[Cluster]:
    """The same cluster, of which one client complains for all in this process, of the same thing ever more seldom.

    It is a client that does nothing else: in one that is at work, a line of the log that comes within another callback
    ends the process (confluent-kafka 2.16, ``CallState_get``).
    """
    voice = AdminClient(cluster.common, logger=Seldom("Kafka"))
    over = threading.Event()

    def listen() -> None:
        while not over.wait(_ROUND_SECONDS):
            voice.poll(0)

    thread = threading.Thread(target=listen, name="kafka client log", daemon=True)
    thread.start()
    try:
        yield quiet(cluster)
    finally:
        over.set()
        thread.join()
