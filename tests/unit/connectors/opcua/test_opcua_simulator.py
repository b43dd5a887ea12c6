"""The simulated farm, and the example that describes it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import connectors.opcua
from connectors.config import load
from connectors.opcua.simulator import CAPACITY, NAMESPACE, NODES, Farm


@given(seed=st.integers(0, 1000), elapsed=st.floats(0, 86_400))
def test_farm_when_it_never_dips_stays_near_its_forecast(seed, elapsed):
    output, forecast, speed, _temperature = Farm(seed).values(elapsed)
    assert Farm(seed).values(elapsed)[:3] == (output, forecast, speed)
    assert 0.85 * forecast < output < 1.1 * forecast
    assert 0 < forecast <= 0.8 * CAPACITY + 1e-9
    assert 0 < speed < 15


@given(seed=st.integers(0, 1000), cycle=st.integers(0, 50), within=st.floats(0, 9.9))
def test_farm_when_it_dips_is_below_60_percent_of_the_forecast_and_comes_back(seed, cycle, within):
    farm = Farm(seed, first_dip=5, dip_every=60, dip_for=10)
    output, forecast, *_ = farm.values(5 + cycle * 60 + within)
    assert output < 0.6 * forecast
    output, forecast, *_ = farm.values(5 + cycle * 60 + 10.1 + within)
    assert output > 0.85 * forecast
    output, forecast, *_ = farm.values(4.9 * within / 10)
    assert output > 0.85 * forecast, "before the first dip"


def test_example_when_loaded_describes_the_farm():
    (server,) = load(Path(connectors.opcua.__file__).with_name("example.toml")).opcua
    assert [node.identifier for node in server.nodes] == [f"s={name}" for name in NODES]
    assert {node.namespace for node in server.nodes} == {NAMESPACE}
