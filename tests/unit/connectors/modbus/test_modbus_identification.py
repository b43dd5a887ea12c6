"""A device's identification, as it is asked for and answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.modbus.identification import answer, question
from connectors.modbus.messages import Refused, Unasked


def test_identification_when_answered_in_parts_names_each_and_the_next():
    # Modbus Application Protocol V1.1b3, section 6.21: the basic category, more follows with object 2
    pdu = bytes.fromhex("2b0e0101ff02020007") + b"Acme\x00Co" + bytes.fromhex("0103") + b"X-1"
    said = answer(pdu)
    assert (str(said), said.following) == ("vendor Acme Co, product X-1", 2)
    assert question(2).hex() == "2b0e0102"
    assert answer(bytes.fromhex("2b0e010100000102032e3031")).objects == {2: ".01"}


def test_identification_when_the_device_does_not_know_it_is_refused():
    with pytest.raises(Refused, match="illegal function"):
        answer(bytes([0x80 | 43, 1]))


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda rest: bytes.fromhex("2b0e0101") + rest))
def test_identification_when_the_answer_is_anything_is_read_or_refused(pdu):
    try:
        said = answer(pdu)
    except (Unasked, Refused):
        return
    assert str(said).isprintable()
