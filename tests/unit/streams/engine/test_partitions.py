"""The partitioner against values of Kafka's own Java code (UtilsTest.testMurmur2) and its arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.partitions import murmur2, partition_of


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_when_given_kafkas_own_examples_agrees(text, hashed):
    assert murmur2(text) == hashed & 0xFFFFFFFF


@given(st.text(max_size=40), st.integers(1, 1000))
def test_partition_of_when_given_any_text_is_a_partition(route, partitions):
    assert 0 <= partition_of(route, partitions) < partitions
