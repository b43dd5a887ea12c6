"""The engine's own records are such as their readers accept, whatever the input was."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.base import EARLIEST_TIME, LATEST_TIME
from schemas.dead_letters import RAW_LIMIT
from streams.engine.ports import JournalEntry, Poison, SegmentEntry
from streams.vocabulary import Words

MICROS = st.integers(-(2**62), 2**62)


@given(
    raw=st.binary(max_size=50),
    key=st.one_of(st.none(), st.binary(max_size=50)),
    reason=st.text(max_size=50),
    timestamp=MICROS,
)
def test_dead_letter_when_made_of_anything_can_be_read(raw, key, reason, timestamp):
    output = Words().dead_letter(Poison("positions", "ticks", 3, 7, key, raw, reason, timestamp))
    letter = topics.dead_letters.decode(output.value)
    assert (letter.letter_id, str(letter.at)) == ("positions-ticks-3-7", "ticks[3]@7")
    assert (letter.raw, letter.size, letter.reason) == (raw, len(raw), reason)
    assert EARLIEST_TIME <= letter.event_time < LATEST_TIME


def test_dead_letter_when_the_record_is_large_keeps_its_beginning_and_its_size():
    raw = b"x" * (RAW_LIMIT * 3)
    output = Words().dead_letter(Poison("positions", "ticks", 0, 1, b"k" * 9999, raw, "r" * 9999, EARLIEST_TIME))
    letter = topics.dead_letters.decode(output.value)
    assert (len(letter.raw), letter.size) == (RAW_LIMIT, len(raw))
    assert (len(letter.reason), len(letter.key)) == (2000, 2000)


@pytest.mark.parametrize("event_time", [0, EARLIEST_TIME + 5])
def test_journal_when_made_can_be_read(event_time):
    segments = [
        SegmentEntry("ticks", 5, 9, 4, 0),
        SegmentEntry("", -1, -1, 0, 77),
        SegmentEntry("ticks", -1, -1, 0, 78),
    ]
    entry = JournalEntry("positions", 2, 11, segments, 6, "0" * 32, event_time)
    output = Words().journal(entry)
    record = topics.journal.decode(output.value)
    assert [msgspec.structs.astuple(s) for s in record.segments] == [tuple(s) for s in segments]
    assert (output.key, record.commit, record.outputs) == (b"positions|2", 11, 6)
    assert record.event_time == max(event_time, EARLIEST_TIME)
    assert dict(output.headers)["ce_id"] == b"positions-2-11"
