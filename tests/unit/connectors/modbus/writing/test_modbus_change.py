"""Changes on the wire, held to pymodbus' own messages, and answers that confirm nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.pdu import DecodePDU

from connectors.modbus.messages import Refused, Unasked
from connectors.modbus.registers import Kind
from connectors.modbus.writing.change import Change, Function

ADDRESSES, WORDS = st.integers(0, 60_000), st.integers(0, 0xFFFF)
CHANGES = st.one_of(
    st.builds(Change, st.just(Kind.COIL), ADDRESSES, st.tuples(st.booleans()), multiple=st.booleans()),
    st.builds(
        Change,
        st.just(Kind.HOLDING),
        ADDRESSES,
        st.lists(WORDS, min_size=1, max_size=4).map(tuple),
        multiple=st.booleans(),
    ),
    st.builds(Change, st.just(Kind.HOLDING), ADDRESSES, st.tuples(WORDS), mask=st.integers(1, 0xFFFF)),
)


@given(change=CHANGES, before=WORDS)
def test_question_when_read_by_the_library_means_the_same(change, before):
    read = DecodePDU(True).decode(change.question())
    assert read.function_code == change.function
    assert read.address == change.address
    if change.mask is not None:
        after = before & read.and_mask | read.or_mask & ~read.and_mask  # section 6.16
        assert change.holds([after])
        assert (after ^ before) & ~change.mask == 0
    else:
        assert tuple(read.bits if change.kind.is_bit else read.registers) == change.words


@given(change=CHANGES)
def test_confirmation_when_the_library_makes_it_is_taken(change):
    asked = change.question()
    several = change.function in (Function.WRITE_MULTIPLE_COILS, Function.WRITE_MULTIPLE_REGISTERS)
    made = DecodePDU(False).decode(asked[:5] if several else asked)
    change.confirm(bytes([made.function_code]) + made.encode())


@given(change=CHANGES, pdu=st.binary(min_size=1, max_size=20))
def test_confirmation_when_anything_comes_is_a_refusal_or_not_asked_for(change, pdu):
    with pytest.raises((Refused, Unasked)):
        change.confirm(pdu + b"\0" if pdu == change.question()[: len(pdu)] else pdu)


def test_refusal_when_it_comes_names_exception_function_and_place():
    change = Change(Kind.HOLDING, 100, (1, 2))
    with pytest.raises(Refused) as refused:
        change.confirm(bytes([0x90, 2]))
    assert str(refused.value) == (
        "the device refused function 16 (write multiple registers) to holding 100 to 101: "
        "illegal address (exception code 2)"
    )
