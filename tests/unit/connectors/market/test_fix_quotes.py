"""Market data messages to events: what each entry gives, and that nothing at all can break it."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.contract.events import Bad, Phase, Quoted, Side, Snapshot, Trade, Update
from connectors.market.fix.codec import Decoder, Message, encode, time_of, time_text
from connectors.market.fix.quotes import Reader
from schemas.books import Trading

AT = 1_790_000_000_000_000
SYMBOLS = {"NG": "HENRY-HUB", "CL": "WTI"}
Fields = list[tuple[int, str]]


def message(kind: str, *fields: tuple[int, str]) -> Message:
    (found,) = Decoder().feed(encode([(35, kind), (52, time_text(AT)), *fields]))
    assert isinstance(found, Message)
    return found


def read(kind: str, *fields: tuple[int, str], numbered: bool = False, requested: str | None = None) -> list:
    return Reader(SYMBOLS, numbered=numbered).read(message(kind, *fields), requested)


def entry(action: str, kind: str, price: str, size: str = "5", **more: str) -> Fields:
    named = {"symbol": 55, "number": 83, "identity": 278}
    return [
        (279, action),
        (269, kind),
        *((named[key], value) for key, value in more.items()),
        (270, price),
        (271, size),
    ]


def test_reader_when_a_snapshot_comes_gives_the_trade_and_then_the_book():
    sides = [
        (269, "0"),
        (270, "3.1"),
        (271, "5"),
        (269, "1"),
        (270, "-3.2"),
        (278, "x"),
        (269, "2"),
        (270, "3"),
        (271, "9"),
    ]
    assert read("W", (55, "NG"), (83, "7"), (268, "3"), *sides, numbered=True) == [
        Trade("HENRY-HUB", 3.0, 9.0, AT),
        Snapshot("HENRY-HUB", [Quoted(Side.BID, 3.1, 5.0), Quoted(Side.ASK, -3.2, 1.0, "x")], AT, 7),
    ]


def test_reader_when_increments_are_of_several_instruments_gives_an_update_each():
    first = [*entry("0", "0", "3.1", symbol="NG"), *entry("2", "1", "3.2")]
    second = entry("1", "1", "70", symbol="CL")
    assert read("X", (268, "3"), *first, *second) == [
        Update("HENRY-HUB", (Quoted(Side.BID, 3.1, 5.0), Quoted(Side.ASK, 3.2, 0.0)), AT),
        Update("WTI", (Quoted(Side.ASK, 70.0, 5.0),), AT),
    ]


def test_reader_when_the_venue_numbers_its_updates_leaves_no_number_out():
    """Of trades and of what is not read as well: a number that nobody saw would look like a hole."""
    entries = [
        entry("0", "0", "3.1", number="4"),
        entry("0", "2", "3.1", number="5"),
        entry("2", "2", "3.1", number="6"),
        entry("0", "C", "100", number="7"),
        entry("0", "1", "3.2", number="8"),
    ]
    found = read("X", (268, "5"), *chain.from_iterable(entries), numbered=True, requested="WTI")
    assert found == [
        Update("WTI", (Quoted(Side.BID, 3.1, 5.0),), AT, 4, 4),
        Trade("WTI", 3.1, 5.0, AT, 5),
        Update("WTI", (Quoted(Side.ASK, 3.2, 5.0),), AT, 8, 6),
    ]


def test_reader_when_entries_have_times_takes_the_newest_and_otherwise_that_of_the_message():
    timed = [*entry("0", "0", "3.1", symbol="NG"), (272, "20260921"), (273, "14:13:21.5")]
    ((update,), (phase,)) = read("X", (268, "1"), *timed), read("h", (340, "2"))
    assert update.event_time == time_of(b"20260921-14:13:21.5")
    assert phase == Phase(None, Trading.OPEN)
    assert read("f", (55, "CL"), (326, "2")) == [Phase("WTI", Trading.HALTED)]
    assert (
        read("X", (60, "20260921-14:13:19"), (268, "1"), *entry("0", "0", "1", symbol="NG"))[0].event_time == AT - 10**6
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "NoMDEntries (268) is missing"),
        ([(268, "2"), *entry("0", "0", "1", symbol="NG")], "is 2, but there are 1 entries"),
        ([(268, "1"), (55, "NG"), *entry("0", "0", "1")], "do not begin behind NoMDEntries"),
        ([(268, "1"), *entry("0", "0", "1", symbol="XX")], "is not configured"),
        ([(268, "1"), *entry("0", "0", "1")], "is not configured"),
        ([(268, "1"), *entry("0", "0", "1e10", symbol="NG")], "is no price"),
        ([(268, "1"), *entry("0", "0", "1", "-1", symbol="NG")], "is no size"),
        ([(268, "1"), (279, "0"), (269, "0"), (55, "NG")], "without MDEntryPx"),
    ],
)
def test_reader_when_a_message_cannot_be_used_says_why(fields, reason):
    with pytest.raises(Bad) as caught:
        read("X", *fields)
    assert reason in str(caught.value)


TAGS = st.sampled_from([52, 55, 60, 83, 122, 262, 268, 269, 270, 271, 272, 273, 278, 279, 326, 340])
VALUES = st.sampled_from(["0", "1", "2", "3", "NG", "CL", "3.1", "nan", "20260921", "14:13:21"]) | st.text(max_size=6)


@settings(max_examples=300)
@given(st.sampled_from("WXhf8"), st.lists(st.tuples(TAGS, VALUES), max_size=20), st.booleans())
def test_reader_when_the_venue_says_anything_is_refused_or_read_and_never_fails(kind, fields, numbered):
    kept = [(tag, value) for tag, value in fields if "\x01" not in value]
    try:
        events = read(kind, *kept, numbered=numbered, requested="WTI")
    except Bad:
        return
    for event in events:
        assert event.instrument in {"HENRY-HUB", "WTI", None}
