"""Schedules are many and long; the tests on a real broker show coverage of the same code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import untraced


@pytest.fixture(autouse=True)
def without_tracing() -> Iterator[None]:
    with untraced():
        yield
