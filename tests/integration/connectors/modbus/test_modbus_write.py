"""``gridtape modbus write`` on pymodbus' server and a real Kafka: what it does, refuses, sees and records."""

from __future__ import annotations

import asyncio
import io
import os
import pwd
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.simulator import DataType, SimData
from rich.console import Console
from sunspec2 import device as sunspec

import connectors.modbus
from connectors.config import load
from connectors.modbus.connector import ModbusConnector
from connectors.modbus.simulator import simulate
from connectors.modbus.writing.change import Function
from schemas import topics
from schemas.writes import Write, WriteOutcome
from streams.commands import write as command
from streams.commands.errors import CommandError
from streams.control import ControlError
from streams.engine.errors import EngineError
from streams.pipeline import CONNECTORS
from streams.settings import Settings
from tests.conftest import PARTITIONS
from tests.integration.connectors.modbus.counterparts import server
from tests.sunspec_device import image

EXAMPLE = Path(connectors.modbus.__file__).with_name("example.toml")
HELD = [SimData(100, datatype=DataType.REGISTERS, values=[0x4220, 0, 7, 0x00FF, 0xFFF6, 1, 0x1234])]


def point(name: str, address: int, type_: str, limits: str = "minimum = 0, maximum = 9", **more: str) -> str:
    """A line of the settings; ``limits`` empty: not writable. ``more``: as it stands in the file."""
    fields = {"kind": '"holding"', "unit": '"1"', **more}
    fields |= {"writable": f"{{{{ {limits} }}}}"} if limits else {}
    rest = ", ".join(f"{key} = {value}" for key, value in fields.items())
    return f'  {{{{ point = "{name}", address = {address}, type = "{type_}", {rest} }}}},'


SETTINGS = f"""
[[modbus]]
name = "gas-1"
host = "127.0.0.1"
port = {{port}}
framing = "{{framing}}"
timeout = 0.3
retries = 0
registers = [
{point("setpoint", 100, "float32", "minimum = 0, maximum = 400", unit='"MW"')}
{point("ramp", 102, "uint16", "minimum = 0, maximum = 20", unit='"MW/min"', scale="0.1")}
{point("mode", 103, "uint16", bit="4", width="2")}
{point("offset", 104, "int16", "minimum = -500, maximum = 500", unit='"kW"', scale_factor="105")}
{point("multiple", 102, "uint16", "minimum = 0, maximum = 9, multiple = true")}
{point("read_only", 106, "uint16", "")}
{point("missing", 900, "uint16")}
{point("start", 0, "bool", kind='"coil"')}
{point("starts", 0, "bool", "minimum = 0, maximum = 1, multiple = true", kind='"coil"')}
]
"""


@pytest.fixture
def wanted():
    """What the command writes, and the connector beside it."""
    return (topics.writes, *CONNECTORS["modbus"])


@pytest.fixture
def settings(cluster) -> Settings:
    return Settings.load(kafka=cluster.bootstrap, topic_prefix=cluster.prefix, partitions=PARTITIONS)


@pytest.fixture
def records(cluster) -> Callable[[int], list[Write]]:
    """The first so many records on the topic."""

    def read(count: int) -> list[Write]:
        consumer = cluster.reader("records")
        try:
            consumer.subscribe([cluster.named(topics.writes.name)])
            found: list[Write] = []
            deadline = time.monotonic() + 20
            while len(found) < count:
                assert time.monotonic() < deadline, found
                found += [topics.writes.decode(m.value()) for m in consumer.consume(10, 0.2) if m.error() is None]
            return sorted(found, key=lambda one: one.event_time)
        finally:
            consumer.close()

    return read


class Device:
    """What was stored, in order, and what the device does with it."""

    def __init__(self, do: Callable | None = None) -> None:
        self.stored: list[tuple[int, int, list]] = []
        self._do = do

    async def __call__(self, function, address, registers, stored) -> ExcCodes | None:
        if stored is None:
            return None
        self.stored.append((function, address, list(stored)))
        return await self._do(function, address, registers, stored) if self._do else None


@pytest.fixture
def typed(tmp_path, free_port):
    """Calls the command for gas-1; gives whether all is well, and what it said."""

    def run(point: str, value: str, record=None, framing: str = "tcp", text: str = SETTINGS, reason: str = "dispatch"):
        file = tmp_path / "connectors.toml"
        file.write_text(text.format(port=free_port, framing=framing))
        page = Console(record=True, width=200, file=io.StringIO())
        return command.write(file, "gas-1", point, value, reason, record, page), page.export_text()

    return run


@pytest.mark.parametrize(
    ("framing", "framer"),
    [("tcp", FramerType.SOCKET), ("rtu-over-tcp", FramerType.RTU), ("ascii-over-tcp", FramerType.ASCII)],
)
def test_modbus_write_when_confirmed_sets_every_type_and_reads_it_back(typed, free_port, framing, framer):
    device, taken = Device(), []
    with server(free_port, HELD, framer, acts=device):
        for point, value in (
            ("setpoint", "50.5"),
            ("ramp", "1.5"),
            ("mode", "2"),
            ("offset", "-250"),
            ("multiple", "9"),
            ("start", "0"),
            ("starts", "1"),
        ):
            fine, page = typed(point, value, taken.append, framing)
            assert fine, page
    assert device.stored == [
        (Function.WRITE_MULTIPLE_REGISTERS, 100, [0x424A, 0]),
        (Function.WRITE_SINGLE_REGISTER, 102, [15]),
        (Function.MASK_WRITE_REGISTER, 103, [0x00EF]),
        (Function.WRITE_SINGLE_REGISTER, 104, [0x10000 - 25]),
        (Function.WRITE_MULTIPLE_REGISTERS, 102, [9]),
        (Function.WRITE_SINGLE_COIL, 0, [False]),
        (Function.WRITE_MULTIPLE_COILS, 0, [True]),
    ]
    outcomes = [one for one in taken if one.outcome is WriteOutcome.WRITTEN]
    assert [one.before for one in outcomes] == [40, 0.7, 3, -100, 15, 1, 0]
    assert [one.after for one in outcomes] == [50.5, 1.5, 2, -250, 9, 0, 1]
    assert [one.outcome for one in taken] == [WriteOutcome.ASKED, WriteOutcome.WRITTEN] * 7


def test_modbus_write_when_typed_is_recorded_before_and_after_with_everything(
    cluster, settings, records, tmp_path, free_port
):
    file = tmp_path / "connectors.toml"
    file.write_text(SETTINGS.format(port=free_port, framing="tcp"))
    env = {**os.environ, "GRIDTAPE_TOPIC_PREFIX": cluster.prefix, "GRIDTAPE_PARTITIONS": str(PARTITIONS), "USER": "eve"}
    line = [sys.executable, "-m", "streams.cli", "modbus", "write", str(file), "gas-1", "offset", "-20"]
    line += ["--reason", "grid asks for less", "--kafka", cluster.bootstrap]
    device = Device()
    with server(free_port, HELD, acts=device):
        dry = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert not device.stored, "a dry run writes nothing"
        done = subprocess.run([*line, "--yes"], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (dry.returncode, done.returncode) == (0, 0), dry.stderr + done.stderr
    for said in (
        f"127.0.0.1:{free_port} unit 1",
        "may be set to -500 to 500 kW",
        "holding 104",
        "6 (write single register)",
        "ff fe",
        "-100 kW, raw ff f6",
        "-20 kW, raw ff fe",
        "nothing was written; --yes does it",
    ):
        assert said in dry.stdout, dry.stdout
    assert "written: it holds -20 kW, raw ff fe" in done.stdout
    asked, written = records(2)
    assert asked.outcome is WriteOutcome.ASKED
    assert written.outcome is WriteOutcome.WRITTEN
    assert asked.write_id == written.write_id
    assert asked.actor == pwd.getpwuid(os.getuid()).pw_name
    assert (asked.device, asked.point, asked.unit, asked.protocol) == ("gas-1", "offset", "kW", "modbus-tcp")
    assert (asked.reason, str(asked.asked)) == ("grid asks for less", "-20")
    assert (asked.address, asked.function, asked.raw) == ("holding 104", 6, "ff fe")
    assert (asked.before, asked.raw_before, asked.after) == (-100, "ff f6", None)
    assert (written.after, written.raw_after) == (-20, "ff fe")
    assert asked.asked_time == written.asked_time < asked.event_time < written.event_time


@pytest.mark.parametrize(
    ("point", "value", "said"),
    [
        ("setpoint", "400.1", "may be set to 0 to 400"),
        ("setpoint", "-0.1", "may be set to 0 to 400"),
        ("read_only", "1", "is not writable"),
        ("nothing", "1", "has no point nothing; it has setpoint, ramp"),
        ("ramp", "0.15", "cannot be held exactly as uint16 with scale 0.1; the nearest that can is 0.2"),
        ("offset", "15", "with scale factor 10^1"),
        ("start", "0.5", "cannot be held exactly as bool"),
        ("missing", "1", "illegal address (exception code 2)"),
        ("setpoint", "much", "'much' is no number"),
        ("setpoint", "nan", "'nan' is no number"),
        ("no|point", "1", "'no|point' is no name of a point"),
    ],
)
def test_modbus_write_when_it_may_not_be_is_refused_in_words_and_sends_nothing(typed, free_port, point, value, said):
    device, taken = Device(), []
    with server(free_port, HELD, acts=device), pytest.raises(CommandError) as refused:
        typed(point, value, taken.append)
    assert said in str(refused.value)
    assert not device.stored
    assert all(one.outcome is WriteOutcome.REFUSED and said in one.detail for one in taken)
    assert len(taken) == (" is no " not in said), "what is no attempt is not recorded"


def test_modbus_write_when_no_reason_is_given_is_refused(typed):
    with pytest.raises(CommandError, match="say why"):
        typed("setpoint", "50", reason=" ")


def test_modbus_write_when_nobody_is_there_is_refused_and_recorded(typed, settings, records):
    with pytest.raises(CommandError, match=r"nothing was written: cannot connect to 127\.0\.0\.1"):
        typed("setpoint", "50", command.in_kafka(settings))
    (only,) = records(1)
    assert only.outcome is WriteOutcome.REFUSED
    assert only.function is None
    assert "is it on, is the port right?" in only.detail


def test_modbus_write_when_kafka_is_away_sends_nothing(typed, free_port, monkeypatch):
    monkeypatch.setattr(command, "_PATIENCE_SECONDS", 1.0)
    with pytest.raises(EngineError, match="does not answer"):
        command.in_kafka(Settings.load(kafka="127.0.0.1:1"))

    def gone(_: Write) -> None:
        raise ControlError("Kafka did not take it")

    device = Device()
    with server(free_port, HELD, acts=device), pytest.raises(CommandError) as refused:
        typed("setpoint", "50", gone)
    assert not device.stored
    assert "nothing was written to gas-1, because the attempt could not be recorded" in str(refused.value)


def test_modbus_write_when_the_outcome_cannot_be_recorded_says_what_came_of_it(typed, free_port):
    taken = []

    def going(one: Write) -> None:
        if taken:
            raise ControlError("Kafka did not take it")
        taken.append(one)

    with server(free_port, HELD), pytest.raises(CommandError) as told:
        typed("setpoint", "50", going)
    assert f"recorded as {taken[0].write_id}, but not its outcome (written)" in str(told.value)


def test_modbus_write_when_the_plant_simulator_gets_a_set_point_its_output_follows(tape, running, tmp_path, free_port):
    file = tmp_path / "connectors.toml"
    file.write_text(EXAMPLE.read_text().replace("port = 1502 ", f"port = {free_port} "))
    plant = load(file).modbus[0]
    stop, taken = threading.Event(), []
    thread = threading.Thread(target=simulate, args=("127.0.0.1", free_port, stop), kwargs={"seed": 7})
    thread.start()
    try:
        with running(lambda publisher: ModbusConnector([plant], publisher)):
            tape.until(lambda: tape.samples("setpoint_mw"), "the set point as it was")
            page = Console(file=io.StringIO())
            assert command.write(file, "gas-1", "setpoint_mw", "250", "call 17", taken.append, page)
            tape.until(lambda: tape.samples("output_mw")[-1].value == 250, "the output follows")
            tape.until(lambda: tape.samples("setpoint_mw")[-1].value == 250, "the connector sees it")
    finally:
        stop.set()
        thread.join()
    assert tape.samples("setpoint_mw")[0].value == taken[-1].before == 400


def test_modbus_write_when_the_connection_ends_after_the_look_sends_nothing_to_whoever_is_there_then(typed, free_port):
    device, another, taken = Device(), Device(), []
    with ExitStack() as there:
        first = there.enter_context(ExitStack())
        first.enter_context(server(free_port, HELD, acts=device))

        def replaced(one: Write) -> None:
            if one.outcome is WriteOutcome.ASKED:
                first.close()
                there.enter_context(server(free_port, HELD, acts=another))
            taken.append(one)

        fine, page = typed("setpoint", "50", replaced)
    assert not fine
    assert "refused: nothing was sent: the connection" in page
    assert [one.outcome for one in taken] == [WriteOutcome.ASKED, WriteOutcome.REFUSED]
    assert not device.stored + another.stored


async def refuses(function, address, registers, stored):
    return ExcCodes.DEVICE_BUSY


async def stores_something_else(function, address, registers, stored):
    stored[:] = [0x4200, 0]


async def takes_it_in_silence(function, address, registers, stored):
    registers[:2] = stored
    await asyncio.sleep(0.6)


async def accepts_for_later(function, address, registers, stored):
    registers[:2] = stored
    return ExcCodes.ACKNOWLEDGE


async def dawdles(function, address, registers, stored):
    await asyncio.sleep(0.9)


async def confirms_and_ramps(function, address, registers, stored):
    final = list(stored)
    stored[:] = [0x4228, 0]
    asyncio.get_running_loop().call_later(0.15, lambda: registers.__setitem__(slice(0, 2), final))


@pytest.mark.parametrize(
    ("does", "outcome", "after", "said"),
    [
        (refuses, WriteOutcome.REFUSED, 40, "device busy (exception code 6); it holds 40 MW"),
        (stores_something_else, WriteOutcome.DIFFERENT, 32, "it confirmed the write, but holds 32 MW, raw 42 00 00 00"),
        (takes_it_in_silence, WriteOutcome.WRITTEN, 50, "though: no answer to function 16"),
        (accepts_for_later, WriteOutcome.WRITTEN, 50, "acknowledge (exception code 5)"),
        (dawdles, WriteOutcome.UNKNOWN, 40, "it holds 40 MW, raw 42 20 00 00, and may still change it"),
        (confirms_and_ramps, WriteOutcome.WRITTEN, 50, "it holds 50 MW"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_modbus_write_when_the_device_does_as_it_likes_says_what_was_seen(typed, free_port, does, outcome, after, said):
    device, taken = Device(does), []
    with server(free_port, HELD, acts=device):
        fine, page = typed("setpoint", "50", taken.append)
    assert fine is (outcome is WriteOutcome.WRITTEN)
    assert len(device.stored) == 1, "a write is sent once"
    assert (taken[-1].outcome, taken[-1].after) == (outcome, after)
    assert said in taken[-1].detail
    assert outcome.value in page


SUNSPEC = """
[[modbus]]
name = "gas-1"
host = "127.0.0.1"
port = {port}
framing = "{framing}"
[modbus.sunspec]
points = ["inverter*"]
[modbus.sunspec.writable]
"controls.WMaxLimPct" = {{ minimum = 20, maximum = 100, multiple = true }}
"""


def test_modbus_write_when_a_sunspec_point_is_named_finds_it_in_the_map(typed, free_port):
    controls = sunspec.Model(model_id=123, data={"WMaxLimPct": 1000, "WMaxLimPct_SF": -1, "Conn": 1})
    held = [SimData(40_000, datatype=DataType.REGISTERS, values=image(controls))]
    name, taken, device = f"{controls.gname}.WMaxLimPct", [], Device()
    text = SUNSPEC.replace("controls.WMaxLimPct", name)
    with server(free_port, held, acts=device):
        assert typed(name, "62.5", taken.append, text=text)[0]
        with pytest.raises(CommandError, match="is not writable"):
            typed(f"{controls.gname}.Conn", "0", taken.append, text=text)
    assert [(function, values) for function, _, values in device.stored] == [(16, [625])]
    assert [one.outcome.value for one in taken] == ["asked", "written", "refused"]
    assert (taken[1].before, taken[1].after) == (100, 62.5)
