"""Servers of the OPC UA tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.topics import Topic
from streams.pipeline import CONNECTORS
from tests.integration.connectors.opcua.plant import Plant, unused_port


@pytest.fixture
def wanted() -> tuple[Topic, ...]:
    return CONNECTORS["opcua"]


@pytest.fixture(scope="module")
def shared_plant() -> Iterator[Plant]:
    with Plant(unused_port(), "A", "B") as plant:
        yield plant


@pytest.fixture
def plant(shared_plant: Plant) -> Plant:
    """One server for many tests (it takes a second and more to start), its nodes as if new."""
    shared_plant.write("A", 0.0)
    shared_plant.write("B", 0.0)
    return shared_plant
