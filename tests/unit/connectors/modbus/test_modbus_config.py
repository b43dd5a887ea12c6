"""What the settings refuse, and that they say all of it at once."""

import pytest
from pydantic import ValidationError

from connectors.modbus.config import ModbusDevice
from connectors.modbus.registers import Type


def device(**fields):
    register = {"point": "p", "kind": "holding", "address": 0, "type": "uint16", "unit": "MW"}
    return {"name": "d", "host": "127.0.0.1", "registers": [register], **fields}


def with_register(**fields):
    return device(registers=[{**device()["registers"][0], **fields}])


def problems(settings) -> str:
    with pytest.raises(ValidationError) as caught:
        ModbusDevice.model_validate(settings)
    return "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in caught.value.errors())


def test_config_when_complete_has_working_defaults():
    loaded = ModbusDevice.model_validate(device())
    assert (loaded.port, loaded.unit_id, loaded.framing, loaded.poll_interval) == (502, 1, "tcp", 1_000_000)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "bool"}, "needs bit"),
        ({"kind": "coil"}, 'type must be "bool"'),
        ({"kind": "coil", "type": "bool", "bit": 3}, "is a bit already"),
        ({"bit": 3}, 'bit needs type = "bool"'),
        ({"type": "bool", "bit": 0, "scale": 2.0}, "leave scale, offset and scale_factor out"),
        ({"scale": 0}, "scale 0"),
        ({"scale": float("nan")}, "registers.0.scale"),
        ({"address": 65_535, "type": "float32"}, "the last address is 65535"),
        ({"address": 65_536}, "less than 65536"),
        ({"address": "7"}, "valid integer"),
        ({"type": "float128"}, "'float64'"),
        ({"no_value": 0x10000}, "does not fit into uint16"),
        ({"range": {"minimum": 5, "maximum": 5}}, "must be below maximum"),
        ({"no_value": [1, 0x10000]}, "does not fit into uint16"),
        ({"width": 3}, "needs a bit to begin at"),
        ({"bit": 14, "width": 3}, "an end within the 16 bits"),
        ({"type": "bool", "bit": 16}, "bits 0 to 15"),
        ({"type": "int16", "bit": 1, "width": 2}, "an unsigned integer"),
        ({"type": "string"}, "length (in registers)"),
        ({"length": 2}, "length (in registers)"),
        ({"labels": {"RUN": 1}}, "labels belong to"),
        ({"type": "string", "length": 2, "no_value": 0}, "neither no_value nor scale_factor"),
        ({"kind": "input", "writable": {"minimum": 0, "maximum": 1}}, "can only be read"),
        ({"type": "string", "length": 2, "writable": {"minimum": 0, "maximum": 1}}, "a string can only be read"),
        (
            {"type": "uint32", "bit": 3, "width": 2, "writable": {"minimum": 0, "maximum": 1}},
            "bits of a value of 2 registers cannot be written alone",
        ),
        ({"writable": {"minimum": 2, "maximum": 1}}, "must not be above maximum"),
        ({"unit": "m w"}, "UCUM"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_register_when_it_cannot_be_meant_is_refused_with_the_reason(fields, said):
    text = problems(with_register(**fields))
    assert said in text
    assert "registers.0" in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "10.1.2.3"}, "allow_plaintext = true"),
        ({"max_registers": 126}, "less than or equal to 125"),
        ({"max_bits": 2001}, "less than or equal to 2000"),
        ({"poll_interval": 0}, "0.05 to 86400 seconds"),
        ({"framing": "rtu-over-tcp", "unit_id": 250}, "0 to 247"),
        ({"framing": "rtu"}, "serial: framing"),
        ({"framing": "rtu", "serial": {"port": "/dev/ttyS0"}}, "a serial line of this machine"),
        ({"serial": {"port": "/dev/ttyS0"}}, 'use "rtu" or "ascii"'),
        ({"framing": "rtu-over-tcp", "tls": {}}, 'only framing "tcp"'),
        ({"host": None}, "host: is missing"),
        ({"forbidden": [{"kind": "holding", "first": 0, "last": 5}]}, "holding 0 lies in what is forbidden"),
        ({"forbidden": [{"kind": "holding", "first": 6, "last": 5}]}, "must not be above last"),
        ({"registers": []}, "set sunspec = true"),
        ({"sunspec": {"points": []}}, "at least 1 item"),
        ({"sunspec": {"bases": [65_536]}}, "less than 65536"),
        ({"sunspec": {"writable": {"controls.WMaxLimPct": {"minimum": 0}}}}, "maximum"),
        (
            {"framing": "rtu", "unit_id": 0, "sunspec": {"writable": {"x": {"minimum": 0, "maximum": 1}}}},
            "nothing is written to all at once",
        ),
    ],
)
def test_device_when_it_cannot_be_meant_is_refused_with_the_reason(fields, said):
    assert said in problems(device(**fields))


def test_device_when_plaintext_is_meant_is_taken():
    assert ModbusDevice.model_validate(device(host="10.1.2.3", allow_plaintext=True)).host == "10.1.2.3"


def test_device_when_it_describes_itself_needs_no_registers():
    loaded = ModbusDevice.model_validate(device(registers=[], sunspec=True))
    assert loaded.sunspec is not None
    assert loaded.sunspec.bases == [40_000, 0, 50_000]
    assert ModbusDevice.model_validate(device(sunspec=False)).sunspec is None


def test_device_when_within_tls_needs_no_trusted_network_and_has_its_own_port():
    loaded = ModbusDevice.model_validate(device(host="10.1.2.3", tls={}))
    assert (loaded.port, loaded.address) == (802, "10.1.2.3:802")
    assert ModbusDevice.model_validate(device(tls={}, port=503)).port == 503


@pytest.mark.parametrize(
    ("serial", "framing", "shape", "gap"),
    [
        ({}, "rtu", (1, 8), 0.002005),
        ({"parity": "none", "baudrate": 115_200}, "rtu", (2, 8), 0.00175),
        ({}, "ascii", (1, 7), 0.0),
        ({"stopbits": 2, "bytesize": 8, "baudrate": 9600}, "ascii", (2, 8), 0.0),
    ],
)
def test_serial_line_when_little_is_said_follows_the_specification(serial, framing, shape, gap):
    settings = {**device(), "framing": framing, "serial": {"port": "/dev/ttyS0", **serial}}
    del settings["host"]
    loaded = ModbusDevice.model_validate(settings)
    assert (loaded.serial.stops, loaded.serial.bits(loaded.framing)) == shape
    assert loaded.gap == gap
    assert loaded.address == "/dev/ttyS0"


def test_device_when_several_things_are_wrong_names_all_of_them():
    register = device()["registers"][0]
    double = {**register, "address": 9, "type": "float64"}
    text = problems(device(host="plc.example", registers=[register, double], max_registers=2))
    assert "allow_plaintext" in text
    assert "registers[0] and registers[1]" in text
    assert "registers[1].type: float64 needs 4 registers" in text


@pytest.mark.parametrize(
    ("kind", "words", "is_float", "is_signed"),
    [("int8", 1, False, True), ("uint16", 1, False, False), ("float16", 1, True, False), ("int64", 4, False, True)],
)
def test_type_when_asked_knows_its_shape(kind, words, is_float, is_signed):
    type_ = Type(kind)
    assert (type_.words, type_.is_float, type_.is_signed) == (words, is_float, is_signed)
