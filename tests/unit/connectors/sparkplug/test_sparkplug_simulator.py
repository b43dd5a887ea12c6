"""The simulated inverter's values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.sparkplug.simulator import CAPACITY, Roof


@given(st.integers(0, 2**32), st.floats(0, 86_400))
def test_simulator_when_seeded_alike_gives_the_same_values_within_the_physical_ranges(
    seed: int, elapsed: float
) -> None:
    volts, power, temperature, currents = Roof(seed).values(elapsed)
    assert (volts, power, temperature, currents) == Roof(seed).values(elapsed)
    assert 23 < volts < 25
    assert 0 < power < CAPACITY
    assert -40 < temperature < 90
    assert all(0 < current < 1000 for current in currents)
