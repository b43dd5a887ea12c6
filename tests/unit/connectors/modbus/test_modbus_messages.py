"""Questions and answers, held to pymodbus' own messages, and answers to something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU, bit_message, register_message

from connectors.modbus.messages import Refused, Unasked, answer, question
from connectors.modbus.plan import Request
from connectors.modbus.registers import Kind

BITS = {Kind.COIL: bit_message.ReadCoilsResponse, Kind.DISCRETE: bit_message.ReadDiscreteInputsResponse}
WORDS = {
    Kind.HOLDING: register_message.ReadHoldingRegistersResponse,
    Kind.INPUT: register_message.ReadInputRegistersResponse,
}


@given(kind=st.sampled_from(Kind), address=st.integers(0, 60_000), count=st.integers(1, 125))
def test_question_when_read_by_the_library_means_the_same(kind, address, count):
    read = DecodePDU(True).decode(question(Request(kind, address, count)))
    assert (read.address, read.count) == (address, count)
    assert read.function_code == {Kind.COIL: 1, Kind.DISCRETE: 2, Kind.HOLDING: 3, Kind.INPUT: 4}[kind]


@given(kind=st.sampled_from(sorted(WORDS)), words=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=125))
def test_answer_when_the_library_has_made_it_of_registers_holds_them(kind, words):
    made = WORDS[kind](registers=words)
    assert answer(Request(kind, 7, len(words)), bytes([made.function_code]) + made.encode()) == words


@given(kind=st.sampled_from(sorted(BITS)), bits=st.lists(st.booleans(), min_size=1, max_size=2000))
def test_answer_when_the_library_has_made_it_of_bits_holds_them(kind, bits):
    made = BITS[kind](bits=bits)
    assert answer(Request(kind, 7, len(bits)), bytes([made.function_code]) + made.encode()) == bits


@given(pdu=st.binary(min_size=1, max_size=253), count=st.integers(1, 125), kind=st.sampled_from(Kind))
def test_answer_when_anything_comes_is_values_a_refusal_or_not_asked_for(pdu, count, kind):
    try:
        values = answer(Request(kind, 0, count), pdu)
    except (Refused, Unasked):
        return
    assert len(values) == count


@pytest.mark.parametrize(
    ("code", "register", "busy", "gateway"),
    [(1, False, False, False), (2, True, False, False), (6, False, True, False), (11, False, False, True)],
)
def test_refusal_when_named_by_its_code_says_what_can_be_done(code, register, busy, gateway):
    with pytest.raises(Refused) as caught:
        answer(Request(Kind.HOLDING, 3, 2), bytes([0x83, code]))
    refused = caught.value
    assert (refused.may_be_one_register, refused.is_busy, refused.is_of_gateway) == (register, busy, gateway)
    assert "holding 3 to 4" in str(refused)
