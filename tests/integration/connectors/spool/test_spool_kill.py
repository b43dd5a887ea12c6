"""kill -9 of a connector process while a real Kafka does not answer: what was on disk arrives, in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from confluent_kafka import TopicPartition

from schemas import topics
from schemas.devices import Storage
from streams.engine.cluster import Cluster
from streams.engine.restore import bounds
from streams.local.kafka import Kafka
from tests.conftest import wait_until

CONFIG = """
[store]
after = 0.2

[[modbus]]
name = "counter"
host = "127.0.0.1"
port = {port}
poll_interval = 0.05
timeout = 2
registers = [{{ point = "n", kind = "holding", address = 0, type = "uint32", unit = "1" }}]
"""


class Meter:
    """A Modbus device that counts its own answers: each value was handed out once, so that a lost one shows."""

    def __init__(self) -> None:
        self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while request := client.recv(260):
                transaction, _protocol, _length, unit, function = struct.unpack(">HHHBB", request[:8])
                client.sendall(struct.pack(">HHHBBBI", transaction, 0, 7, unit, function, 4, self.answered + 1))
                self.answered += 1


@pytest.fixture
def meter() -> Iterator[Meter]:
    one = Meter()
    yield one
    one.close()


def values(kafka: str) -> list[float]:
    """What has reached Kafka, in order."""
    reader = Cluster(kafka).reader("look")
    name = topics.telemetry.name
    try:
        _, end = bounds(Cluster(kafka), [(name, 0)], 30.0)[name, 0]
        reader.assign([TopicPartition(name, 0, 0)])
        found: list[float] = []
        while len(found) < end:
            for message in reader.consume(1000, 10.0):
                assert message.error() is None, message.error()
                found.append(topics.telemetry.decode(message.value()).value)
        return found
    finally:
        reader.close()


def storages(kafka: str) -> set[str]:
    reader = Cluster(kafka).reader("look")
    try:
        reader.assign([TopicPartition(topics.devices.name, 0, 0)])
        _, end = bounds(Cluster(kafka), [(topics.devices.name, 0)], 30.0)[topics.devices.name, 0]
        found = [json.loads(message.value()) for message in reader.consume(end, 10.0)]
        return {record.get("storage", Storage.DIRECT) for record in found}
    finally:
        reader.close()


def test_connector_when_killed_while_kafka_hangs_loses_nothing_that_had_reached_the_disk(tmp_path, meter, process):
    config = CONFIG.format(port=meter.port)
    with Kafka(tmp_path / "kafka") as broker:
        pid = json.loads((tmp_path / "kafka" / "kafka.json").read_text())["pid"]
        with process(config, broker.address, partitions=1):
            wait_until(lambda: meter.answered > 5)
            wait_until(lambda: bool(values(broker.address)))
            os.kill(pid, signal.SIGSTOP)
            try:
                before = meter.answered
                wait_until(lambda: meter.answered >= before + 20)
                safe = meter.answered
                wait_until(lambda: meter.answered >= safe + 40)
            finally:
                # the block's end kills the connector first
                threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()
        killed = meter.answered
        with process(config, broker.address, partitions=1) as second:
            wait_until(lambda: meter.answered > killed + 10, 30)
            wait_until(lambda: set(range(1, safe + 1)) | {killed + 5} <= set(values(broker.address)))
            wait_until(lambda: storages(broker.address) == {Storage.DIRECT, Storage.DISK})
            second.send_signal(signal.SIGTERM)
            assert second.wait(10) == 0
        found = values(broker.address)
    first_seen = list(dict.fromkeys(found))
    assert first_seen == sorted(first_seen), "in the order in which they were read"
    assert len(found) - len(first_seen) <= before, "only what Kafka had and could not acknowledge comes twice"
    missing = set(range(1, meter.answered + 1)) - set(found)
    assert all(safe < one <= killed for one in missing), "only what was younger than store.after when it was killed"
