"""Devices that are changed by records on a topic, with real Modbus servers and the real Kafka."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from pymodbus.simulator import DataType, SimData

from connectors.changes.layers import Layers
from connectors.changes.source import Source
from connectors.runner import run_connectors
from schemas import topics
from schemas.devices import DeviceState
from streams import control
from streams.engine.cluster import Cluster
from streams.engine.errors import EngineError
from streams.engine.partitions import partition_of
from streams.pipeline import CONNECTORS
from tests.conftest import PARTITIONS
from tests.integration.connectors.conftest import Tape
from tests.integration.connectors.modbus.counterparts import server

NOW = 1_795_000_000_000_000
DEVICE = """
host = "127.0.0.1"
port = {port}
poll_interval = 0.1
timeout = 0.3
retries = 0
backoff_ceiling = 0.5
registers = [{{ point = "x", kind = "holding", address = 0, type = "uint16", unit = "1" }}]
"""


@pytest.fixture
def wanted() -> tuple[topics.Topic, ...]:
    return (*CONNECTORS["modbus"], topics.device_settings)


@pytest.fixture
def tape(cluster) -> Iterator[Tape]:
    """Not the settings: what stands there need not be a record."""
    with closing(Tape(cluster, CONNECTORS["modbus"])) as tape:
        yield tape


@pytest.fixture
def plant() -> Iterator[list[int]]:
    """The ports of three servers, whose register 0 holds 11, 12 and 13."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [one.getsockname()[1] for one in sockets]
        stack.close()
        for n, port in enumerate(ports):
            stack.enter_context(server(port, [SimData(0, datatype=DataType.REGISTERS, values=[11 + n])]))
        yield ports


@contextmanager
def process(path: Path, cluster: Cluster, asked: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """What `gridtape run connectors` does, without its signal."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def body() -> None:
        try:
            with closing(Source(Layers(path), cluster, asked)) as source:
                run_connectors(source.config, cluster, stop, None, source.changed)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=body, name="connectors")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    assert not failed


def publish(cluster: Cluster, tmp_path: Path, *rows: str) -> None:
    """`gridtape publish`."""
    path = tmp_path / "wanted.toml"
    path.write_text("\n".join(f"[[device_settings]]\n{row}" for row in rows))
    control.publish(cluster, control.read_file(path, NOW), PARTITIONS, timeout=30)


def wants(device: str, port: int, process: str = "north") -> str:
    text = DEVICE.format(port=port)
    return f"process = '{process}'\ndevice = '{device}'\nchange = 'set'\nsection = 'modbus'\nsettings = '''{text}'''"


def test_devices_when_changed_by_records_are_exchanged_and_a_bad_record_is_refused_by_name(
    cluster, tape, tmp_path, plant
):
    path = tmp_path / "connectors.toml"
    path.write_text(f'changes = {{ name = "north" }}\n[[modbus]]\nname = "gas-1"\n{DEVICE.format(port=plant[0])}')

    def values(device: str) -> list[float | None]:
        return [sample.value for sample in tape.samples("x", device)]

    with process(path, cluster):
        tape.until(lambda: values("gas-1"), "the file's device")
        publish(cluster, tmp_path, wants("gas-2", plant[1]), wants("gas-9", plant[2], process="south"))
        tape.until(lambda: values("gas-2"), "a device that a record has added")
        publish(cluster, tmp_path, wants("gas-1", plant[2]))
        tape.until(lambda: 13 in values("gas-1"), "the file's device, elsewhere")
        publish(cluster, tmp_path, wants("gas-1", 0), "process = 'north'\ndevice = 'gas-2'\nchange = 'remove'")
        tape.until(lambda: tape.letters(), "the refusal")
        removed = "it is no longer configured"
        tape.until(
            lambda: [d for d in tape.devices if d.device == "gas-2" and d.reason == removed],
            "the removed device is down",
        )
        before = len(values("gas-1"))
        tape.until(lambda: len(values("gas-1")) > before + 3, "the running settings stay")
    assert set(values("gas-1")) == {11, 13}
    assert set(values("gas-2")) == {12}
    assert not values("gas-9"), "it was meant for another process"
    (letter,) = tape.letters()
    assert (letter.application, letter.key, letter.raw) == ("settings", "north|gas-1", b"")
    assert letter.at.topic == cluster.named("device-settings")
    assert letter.reason.startswith("settings.port: is 0; should be greater than or equal to 1")
    assert {d.state for d in tape.devices if d.device == "gas-2"} >= {DeviceState.LIVE, DeviceState.DOWN}

    since = len(tape.samples("x"))
    with process(path, cluster):
        tape.until(lambda: len(tape.samples("x")) > since + 3, "after a restart")
        later = tape.samples("x")[since:]
        assert {(sample.device, sample.value) for sample in later} == {("gas-1", 13)}, "the records hold, over the file"
        producer, topic = cluster.publisher(), cluster.named("device-settings")
        place = partition_of("north", PARTITIONS)
        producer.produce(topic, b"{", b"north|gas-5", place)
        producer.produce(topic, None, b"north|gas-1", place)
        assert producer.flush(30) == 0
        tape.until(lambda: values("gas-1")[-1] == 11, "the device is the file's again")
        tape.until(lambda: tape.letters()[-1].key == "north|gas-5", "what is no record is refused")
    assert tape.letters()[-1].reason.startswith(f"not a valid record of {topic}")


def test_devices_when_the_file_is_read_again_follow_the_topic_as_it_says(cluster, tape, tmp_path, plant):
    path = tmp_path / "connectors.toml"
    text = f'[[modbus]]\nname = "gas-1"\n{DEVICE.format(port=plant[0])}'
    path.write_text(text)
    publish(cluster, tmp_path, wants("gas-2", plant[1]))
    hung_up = threading.Event()

    def asked() -> bool:
        if again := hung_up.is_set():
            hung_up.clear()
        return again

    with process(path, cluster, asked):
        tape.until(lambda: len(tape.samples("x", "gas-1")) > 3, "the file's device")
        assert not tape.samples("x", "gas-2"), "nobody has allowed changes"
        path.write_text(f'changes = {{ name = "north" }}\n{text}')
        hung_up.set()
        tape.until(lambda: tape.samples("x", "gas-2"), "changes are followed now")
        path.write_text(text)
        hung_up.set()
        down = "it is no longer configured"
        tape.until(
            lambda: [d for d in tape.devices if d.device == "gas-2" and d.reason == down], "changes are forgotten"
        )


def test_devices_when_the_topic_is_not_there_the_start_is_refused(cluster, tmp_path):
    path = tmp_path / "connectors.toml"
    path.write_text(f'changes = {{ name = "north" }}\n[[modbus]]\nname = "gas-1"\n{DEVICE.format(port=1)}')
    with pytest.raises(EngineError, match="looking for the topic other-device-settings"):
        Source(Layers(path), Cluster(cluster.bootstrap, prefix="other"), lambda: False)


def test_devices_when_the_topic_is_not_there_later_the_rest_of_the_file_holds(cluster, tmp_path):
    path = tmp_path / "connectors.toml"
    text = f'[[modbus]]\nname = "gas-1"\n{DEVICE.format(port=1)}'
    path.write_text(text)
    with closing(Source(Layers(path), Cluster(cluster.bootstrap, prefix="other"), lambda: True)) as source:
        path.write_text(f'changes = {{ name = "north" }}\n{text.replace("port = 1", "port = 2")}')
        config = source.changed()
        assert config is not None
        assert config.modbus[0].port == 2
