"""SunSpec devices made by the SunSpec Alliance's own library, served by pymodbus, read without a word of settings."""

from __future__ import annotations

import threading

import pytest
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData
from rich.console import Console
from sunspec2 import device as sunspec

from connectors.config import load
from connectors.modbus.connector import ModbusConnector
from schemas.base import Quality
from schemas.telemetry import Telemetry
from streams.commands import connect
from streams.commands.discover import How, discover
from streams.commands.errors import CommandError
from streams.local.service import free_port as unused
from tests.integration.connectors.modbus.counterparts import device, register, server, serving
from tests.sunspec_device import filled, image, values, words


def held(base: int, registers: list[int]) -> list[SimData]:
    return [SimData(base, datatype=DataType.REGISTERS, values=registers)]


def inverter(**points) -> sunspec.Model:
    """A three-phase inverter in which only ``points`` have values."""
    return sunspec.Model(model_id=103, data={"W_SF": 1, "A_SF": -2, "V_SF": -1, "WH_SF": 0, **points})


def test_discovery_when_a_device_has_several_models_reads_every_point_as_the_library_does(tape, running, free_port):
    common = sunspec.Model(model_id=1, data={"Mn": "Acme", "Md": "Sun 10", "SN": "0815"})
    models = [filled(103), filled(203), filled(160, repeats=3), filled(802), filled(103, seed=2)]
    vendor = [64_900, 3, 7, 7, 7]
    registers = [0x5375, 0x6E53, *words(common), *vendor, *image(*models)[2:]]
    plant = device("roof", free_port, [], sunspec=True, timeout=2)
    expected = {
        name: value
        for model, prefix in zip(models, ("", "", "", "", "inverter_three_phase@2"), strict=True)
        for name, definition, value in values(model, prefix)
        if "W" not in definition.get("access", "R") and definition.get("static") != "S"
    }
    with server(free_port, held(40_000, registers)), running(lambda p: ModbusConnector([plant], p)):
        tape.until(lambda: all(tape.samples(name) for name in expected), "every point of every model")
    for name, value in expected.items():
        first = tape.samples(name)[0]
        assert (first.quality, first.value) == (Quality.GOOD, pytest.approx(value, rel=1e-9)), name
    assert {sample.point for sample in tape.records if isinstance(sample, Telemetry)} == set(expected)
    units = {name: tape.samples(name)[0].unit for name in ("inverter_three_phase.W", "battery.SoC", "ac_meter_abcn.A")}
    assert units == {"inverter_three_phase.W": "W", "battery.SoC": "%", "ac_meter_abcn.A": "A"}
    tape.until(lambda: tape.devices and tape.devices[-1].asset, "what the device says of itself")
    assert tape.devices[-1].asset == "Acme Sun 10 0815"
    assert {point.point for point in tape.devices[-1].points} == set(expected)


@pytest.mark.parametrize("base", [0, 50_000, 1_234])
def test_discovery_when_the_map_begins_elsewhere_finds_it(tape, running, free_port, base):
    plant = device("roof", free_port, [], sunspec={"bases": [40_000, 0, 50_000, 1_234]})
    with (
        server(free_port, held(base, image(inverter(W=1234)))),
        running(lambda p: ModbusConnector([plant], p)),
    ):
        tape.until(lambda: tape.samples("inverter_three_phase.W"), "a sample")
    assert tape.samples("inverter_three_phase.W")[0].value == 12_340


def test_discovery_when_there_is_no_map_says_where_it_looked_and_what_to_do(tape, running, free_port):
    plain = device("plain", free_port, [register("x", 0)], sunspec=True)
    with server(free_port, held(0, [7] * 10)), running(lambda p: ModbusConnector([plain], p)):
        tape.until(lambda: any("SunS" in told.reason for told in tape.devices), "the reason in the device's status")
    reason = next(told.reason for told in tape.devices if "SunS" in told.reason)
    assert all(word in reason for word in ("40000: the device refused", "0: 0007 0007", "sunspec.bases"))
    assert not tape.samples("x")


def test_points_when_the_scale_factor_moves_follow_it_and_without_one_are_bad(tape, running, free_port):
    live = image(inverter(W=50, W_SF=2))
    plant = device("roof", free_port, [], sunspec={"points": ["*.W"]})
    with server(free_port, held(40_000, list(live)), live=live), running(lambda p: ModbusConnector([plant], p)):
        tape.until(lambda: tape.samples("inverter_three_phase.W"), "a sample")
        live[:] = image(inverter(W=50, W_SF=-1))
        tape.until(lambda: tape.samples("inverter_three_phase.W")[-1].value == 5, "the value with the new scale factor")
        live[:] = image(inverter(W=50, W_SF=None))
        tape.until(lambda: tape.samples("inverter_three_phase.W")[-1].quality is Quality.BAD, "a bad sample")
    assert {sample.value for sample in tape.samples("inverter_three_phase.W")} == {5000, 5, None}
    assert "scale factor" in tape.samples("inverter_three_phase.W")[-1].reason


def test_points_when_optional_appear_with_their_first_value_and_are_bad_when_it_goes(tape, running, free_port):
    night = image(inverter(W=0, DCW=None))
    day = image(inverter(W=10, DCW=110, DCW_SF=0))
    live = list(night)
    plant = device("roof", free_port, [], sunspec={"points": ["*.W", "*.DCW"]})
    with server(free_port, held(40_000, list(night)), live=live), running(lambda p: ModbusConnector([plant], p)):
        tape.until(lambda: len(tape.samples("inverter_three_phase.W")) >= 3, "three polls by night")
        assert not tape.samples("inverter_three_phase.DCW")
        live[:] = day
        tape.until(lambda: tape.samples("inverter_three_phase.DCW"), "a value by day")
        live[:] = night
        tape.until(lambda: tape.samples("inverter_three_phase.DCW")[-1].quality is Quality.BAD, "no value any more")
    assert tape.samples("inverter_three_phase.DCW")[0].value == 110
    assert tape.samples("inverter_three_phase.DCW")[-1].value is None


def test_discovery_when_the_device_comes_back_as_another_reads_the_other(tape, running, free_port):
    plant = device("roof", free_port, [], sunspec=True)
    with running(lambda p: ModbusConnector([plant], p)):
        with server(free_port, held(40_000, image(inverter(W=1)))):
            tape.until(lambda: tape.samples("inverter_three_phase.W"), "the inverter")
        with server(free_port, held(40_000, image(filled(203)))):
            tape.until(lambda: tape.samples("ac_meter_abcn.W"), "the meter that stands there now")
        before = len(tape.samples("inverter_three_phase.W"))
        tape.read()
    assert len(tape.samples("inverter_three_phase.W")) == before


def test_discovery_when_the_map_is_broken_says_how(tape, running, free_port):
    endless = [0x5375, 0x6E53, *([64_900, 0] * 300)]
    too_long = [0x5375, 0x6E53, 103, 60_000]
    cut = [0x5375, 0x6E53, *words(inverter(W=1))]
    for name, registers in {"endless": endless, "too-long": too_long}.items():
        with (
            server(free_port, held(40_000, registers)),
            running(lambda p, name=name: ModbusConnector([device(name, free_port, [], sunspec=True)], p)),
        ):
            tape.until(
                lambda name=name: any(told.device == name and "broken" in told.reason for told in tape.devices),
                f"{name}: given up",
            )
    with (
        server(free_port, held(40_000, cut)),
        running(lambda p: ModbusConnector([device("cut", free_port, [], sunspec=True)], p)),
    ):
        tape.until(lambda: tape.samples("inverter_three_phase.W", "cut"), "what stands before the missing end mark")
    assert not tape.samples("inverter_three_phase.W", "endless")


def test_discover_when_a_device_has_a_map_writes_settings_that_check_finds_good(tmp_path, free_port):
    common = sunspec.Model(model_id=1, data={"Mn": "Acme", "Md": "Sun 10", "SN": "0815"})
    registers = [0x5375, 0x6E53, *words(common), *image(filled(103))[2:]]
    out, page, never = tmp_path / "roof.toml", Console(record=True, width=80), threading.Event()
    with server(free_port, held(40_000, registers)):
        assert discover(f"modbus://127.0.0.1:{free_port}?unit=1", How(), out, never, page, force=False)
        checked = Console(record=True, width=150)
        assert connect.check(out, 1.0, never, checked)
    assert "inverter_three_phase.W " in checked.export_text()
    (found,) = load(out).modbus
    assert (found.unit_id, found.sunspec is not None, found.registers) == (1, True, [])
    assert "Acme Sun 10 0815" in out.read_text()


def test_discover_when_a_device_has_no_map_says_who_it_is_and_what_modbus_does_not_say(tmp_path, free_port):
    who = ModbusDeviceIdentification(
        info_name={"VendorName": "Acme", "ProductCode": "X-1", "MajorMinorRevision": "3.1"}
    )
    out, page, never = tmp_path / "plain.toml", Console(record=True, width=80), threading.Event()
    address = ("127.0.0.1", free_port)
    with serving(lambda unit: ModbusTcpServer(unit, identity=who, address=address), held(0, [7] * 10)):
        assert discover(f"modbus://127.0.0.1:{free_port}", How(), out, never, page, force=False)
        assert connect.check(out, 5.0, never, Console(quiet=True))
    (found,) = load(out).modbus
    assert {one.point for one in found.registers} == {"holding_0", "input_0", "coil_0", "discrete_0"}
    assert found.asset == "vendor Acme, product X-1, revision 3.1"
    assert "registers come from its data sheet" in page.export_text()


def test_discover_when_one_of_several_devices_is_off_says_so_and_writes_the_others(tmp_path, free_port):
    file, out, page = tmp_path / "connections.toml", tmp_path / "plant.toml", Console(record=True, width=80)
    each = '[[modbus]]\nname = "{}"\nhost = "127.0.0.1"\nport = {}\n'
    with server(free_port, held(0, [7] * 10)):
        file.write_text(each.format("off", unused()) + each.format("on", free_port))
        assert discover(str(file), How(), out, threading.Event(), page, force=False)
    assert [one.name for one in load(out).modbus] == ["on"]
    said = " ".join(page.export_text().split())
    assert "modbus off is left out: cannot connect to 127.0.0.1" in said
    assert "connection refused" in said


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("modbus://127.0.0.1:{port}", "connection refused; is it on"),
        ("modbus://127.0.0.1:{port}?unit=300", r"behind the port stands \?unit=0 to \?unit=255"),
        ("modbus://10.9.8.7?unit=1", "here that is --allow-plaintext"),
    ],
)
def test_discover_when_the_modbus_address_does_not_do_says_why(target, words, free_port):
    with pytest.raises(CommandError, match=words):
        discover(target.format(port=free_port), How(), None, threading.Event(), Console(), force=False)
