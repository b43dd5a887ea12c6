"""kill -9 of a connector process while a real Kafka does not answer: what was on disk arrives, in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pymodbus.simulator import DataType, SimData

from schemas.devices import Storage
from schemas.gaps import Gap
from schemas.telemetry import Telemetry
from streams.engine.cluster import Cluster
from streams.local.kafka import Kafka
from streams.pipeline import CONNECTORS
from tests.conftest import wait_until
from tests.integration.connectors.conftest import Tape, frozen
from tests.integration.connectors.modbus.counterparts import server
from tests.integration.connectors.opcua.counting import Counting
from tests.integration.connectors.opcua.plant import URI

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

[[opcua]]
name = "farm"
url = "{url}"
publishing_interval = 0.05
keep_alive = 2
nodes = [{{ point = "n", namespace = "{uri}", identifier = "s=N", unit = "1" }}]
"""


class Meter:
    """A Modbus device that counts its own answers: each value is handed out once, so that a lost one shows."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered = 0

    async def __call__(self, _function: int, _address: int, registers: list[int], _stored: object) -> None:
        self.answered += 1
        registers[:2] = divmod(self.answered, 65_536)


@pytest.fixture
def meter(free_port: int) -> Iterator[Meter]:
    one = Meter(free_port)
    with server(free_port, [SimData(0, datatype=DataType.REGISTERS, values=[0, 0])], acts=one):
        yield one


def values(tape: Tape, device: str) -> list[float]:
    return [sample.value for sample in tape.samples("n", device)]


def storages(tape: Tape, device: str) -> set[str]:
    return {status.storage for status in tape.devices if status.device == device}


def test_connector_when_killed_while_kafka_hangs_loses_nothing_that_had_reached_the_disk(tmp_path, meter, process):
    with ExitStack() as stack:
        farm = stack.enter_context(Counting(every=0.05))
        broker = stack.enter_context(Kafka(tmp_path / "kafka"))
        config = CONFIG.format(port=meter.port, url=farm.url, uri=URI)
        with ExitStack() as hanging, process(config, broker.address, partitions=1):
            wait_until(lambda: meter.answered > 5)
            tape = Tape(Cluster(broker.address), CONNECTORS["opcua"])
            stack.callback(tape.close)
            tape.until(lambda: values(tape, "counter") and values(tape, "farm"), "the first values")
            hanging.enter_context(frozen(broker))
            before, counted = meter.answered, farm.written
            wait_until(lambda: meter.answered >= before + 10 and farm.written >= counted + 10)
            safe, kept = meter.answered, farm.written
            wait_until(lambda: meter.answered >= safe + 30 and farm.written >= kept + 30)
        killed, ended = meter.answered, farm.written
        with process(config, broker.address, partitions=1) as second:
            wait_until(lambda: meter.answered > killed + 10, 30)
            wanted = set(range(1, safe + 1)) | {killed + 5}
            tape.until(lambda: wanted <= set(values(tape, "counter")), "what was on disk, and what is new")
            tape.until(lambda: values(tape, "farm")[-1] > ended, "what the server says now")
            for device in ("counter", "farm"):
                tape.until(lambda device=device: storages(tape, device) >= {Storage.DIRECT, Storage.DISK}, "the states")
            second.send_signal(signal.SIGTERM)
            assert second.wait(10) == 0
    found = values(tape, "counter")
    assert Storage.PAUSED not in storages(tape, "counter") | storages(tape, "farm")
    first_seen = list(dict.fromkeys(found))
    assert first_seen == sorted(first_seen), "in the order in which they were read"
    assert len(found) - len(first_seen) <= before, "only what Kafka had and could not acknowledge comes twice"
    missing = set(range(1, int(found[-1]) + 1)) - set(found)
    assert all(safe < one <= killed for one in missing), "only what was younger than store.after when it was killed"
    check_farm(tape.samples("n", "farm"), tape.gaps("disconnected", "farm"), kept)


def check_farm(samples: list[Telemetry], gaps: list[Gap], kept: float) -> None:
    """A server cannot be asked again: what had reached the disk is first, and a gap says that there may be more."""
    ids = dict.fromkeys((sample.event_time, sample.sequence, sample.value) for sample in samples)
    numbers = [value for _, _, value in ids]
    assert numbers == sorted(set(numbers)), "in their order, none under another sequence or time"
    began = next(place for place, (_, sequence, _) in enumerate(ids) if place and sequence == 1)
    assert numbers[began - 1] >= kept
    assert numbers[:began] == [numbers[0] + place for place in range(began)], "all up to the newest on disk"
    opened, closed = list(dict.fromkeys(gaps))[2:]
    assert (opened.open, closed.open, opened.gap_id) == (True, False, closed.gap_id)
    by_value = {sample.value: sample for sample in samples}
    before, after = by_value[numbers[began - 1]], by_value[numbers[began]]
    assert before.receive_time < opened.receive_time < after.receive_time == closed.receive_time
