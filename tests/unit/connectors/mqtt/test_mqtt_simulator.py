from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from connectors.mqtt.simulator import POWER_MW, readings


@given(st.integers(0, 2**32))
def test_simulator_when_seeded_alike_gives_the_same_readings_within_the_physical_ranges(seed: int) -> None:
    first = list(islice(readings(seed), 400))
    assert first == list(islice(readings(seed), 400))
    for reading in first:
        assert 0 <= reading.soc <= 100
        assert -POWER_MW <= reading.power <= POWER_MW
        assert -40 < reading.temperature < 90
        assert 40 < reading.pressure < 80
        assert 800 < reading.flow < 1600


def test_simulator_when_seeded_differently_gives_other_readings() -> None:
    assert list(islice(readings(1), 10)) != list(islice(readings(2), 10))
