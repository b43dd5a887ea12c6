"""The simulated plant, and the example that describes it."""

from __future__ import annotations

import struct
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import connectors.modbus
from connectors.config import load
from connectors.modbus.simulator import CAPACITY, Plant

SECONDS = st.floats(0, 86_400)


def output(plant: Plant, elapsed: float) -> float:
    return struct.unpack(">f", struct.pack(">HH", *plant.registers(elapsed)[:2]))[0]


def available(plant: Plant, elapsed: float) -> float:
    low, high = plant.registers(elapsed)[2:4]
    return struct.unpack(">f", struct.pack(">HH", high, low))[0]


@given(seed=st.integers(0, 1000), elapsed=SECONDS)
def test_plant_when_asked_twice_says_the_same_within_its_capacity(seed, elapsed):
    plant = Plant(seed)
    assert plant.registers(elapsed) == Plant(seed).registers(elapsed)
    assert 0.8 * CAPACITY < output(plant, elapsed) <= available(plant, elapsed) * 1.000001 < CAPACITY


@given(seed=st.integers(0, 1000), cycle=st.integers(1, 50), within=st.floats(0, 9.9))
def test_plant_when_it_dips_falls_to_about_half_and_comes_back(seed, cycle, within):
    plant = Plant(seed, dip_every=60, dip_for=10)
    assert 0.4 < output(plant, cycle * 60 + within) / available(plant, cycle * 60 + within) < 0.6
    assert output(plant, cycle * 60 + 10.1 + within) > 0.8 * available(plant, cycle * 60 + 10.1 + within)
    assert output(plant, within) > 0.8 * available(plant, within), "the first minute is quiet"


@given(seed=st.integers(0, 1000), elapsed=SECONDS, setpoint=st.floats(-10, 300, width=32))
def test_plant_when_given_a_set_point_stays_below_it(seed, elapsed, setpoint):
    registers = Plant(seed).registers(elapsed, setpoint)
    assert struct.unpack(">f", struct.pack(">HH", *registers[:2]))[0] == max(setpoint, 0)


def test_example_when_loaded_describes_the_plant():
    config = load(Path(connectors.modbus.__file__).with_name("example.toml"))
    gas, meter, *_others = config.modbus
    read = ["output_mw", "available_mw", "fuel_flow", "exhaust_temp"]
    assert [r.point for r in gas.registers] == [*read, "setpoint_mw", "running"]
    assert sum(r.size for r in gas.registers if r.kind == "input") == len(Plant(1).registers(0.0))
    assert meter.framing == "rtu-over-tcp"
