"""A venue's JSON by the settings' words: what each kind gives, and that nothing at all can break it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.contract.events import Bad, Phase, Quoted, Side, Snapshot, Trade, Update
from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.mapping import Mapper, Refusal, decode
from schemas.books import Trading

NOW = 1_790_000_000_000_000
BOOK = {"kind": "update", "when": {"type": "book"}, "symbol": "data.sym", "time": "data.ts", "first": "data.from"}
BOOK |= {"sequence": "data.to", "bids": "data.b", "asks": "data.a"}
SNAPSHOT = {"kind": "snapshot", "when": {"type": "snapshot"}, "symbol": "sym", "sequence": "seq", "bids": "b"}
SNAPSHOT |= {"asks": "a", "level_price": "p", "level_size": "q[0]"}
TRADES = {"kind": "trade", "when": {"type": "trades"}, "symbol": "sym", "time": "ts", "sequence": "seq"}
TRADES |= {"items": "list", "price": "p"}
MESSAGES: list[dict[str, Any]] = [
    BOOK,
    SNAPSHOT,
    TRADES,
    {"kind": "trade", "when": {"e": "t", "live": True}, "symbol": "sym", "price": "p", "size": "data[1].q"},
    {"kind": "quote", "when": {"bid": "*"}, "symbol": "sym", "bid": "bid", "bid_size": "n", "ask": "ask"},
    {"kind": "state", "when": {"type": "status"}, "symbol": "sym", "state": "is", "states": {"trading": "open"}},
    {"kind": "heartbeat", "when": {"type": "beat"}, "sequence": "seq"},
    {"kind": "ignore", "when": {"type": "subscribed"}},
    {"kind": "error", "when": {"type": "error"}},
]


def mapper(**given: Any) -> Mapper:
    instruments = [{"instrument": "A", "symbol": "a"}, {"instrument": "B", "symbol": "b"}]
    feed = {"name": "ws", "url": "ws://127.0.0.1/", "venue": "X", "instruments": instruments, "messages": MESSAGES}
    return Mapper(WebSocketConfig.model_validate({**feed, **given}))


def read(message: Any, **given: Any) -> tuple[list[Any], int | None]:
    return mapper(**given).events(decode(json.dumps(message)), NOW)


def test_mapping_when_a_book_changes_gives_levels_numbers_and_time():
    data = {"sym": "a", "ts": 1_790_000_000_123, "from": 4, "to": "6", "b": [["1.5", 2], [1, "0"]], "a": []}
    levels = [Quoted(Side.BID, 1.5, 2.0), Quoted(Side.BID, 1.0, 0.0)]
    assert read({"type": "book", "data": data}) == ([Update("A", levels, 1_790_000_000_123_000, 6, 4)], None)


def test_mapping_when_levels_are_objects_follows_the_paths_within_them():
    bids, asks = [{"p": "-3", "q": [7, 9]}], [{"p": 4, "q": [0]}]
    message = {"type": "snapshot", "sym": "b", "seq": 5, "b": bids, "a": asks}
    assert read(message) == ([Snapshot("B", [Quoted(Side.BID, -3.0, 7.0)], NOW, 5)], None)


def test_mapping_when_trades_come_together_the_first_of_each_instrument_bears_the_number():
    trades = [{"sym": "a", "p": 1}, {"p": "2", "ts": 1_790_000_000_001}, {"sym": "a", "p": 3}]
    assert read({"type": "trades", "seq": 8, "sym": "b", "list": trades}) == (
        [
            Trade("A", 1.0, 0.0, NOW, 8),
            Trade("B", 2.0, 0.0, 1_790_000_000_001_000, 8),
            Trade("A", 3.0, 0.0, NOW, None),
        ],
        None,
    )
    assert read({"type": "trades", "seq": 8, "sym": "b", "list": []}) == ([], 8)


@pytest.mark.parametrize(
    ("message", "events", "number"),
    [
        ({"e": "t", "live": True, "sym": "a", "p": 1, "data": [0, {"q": 2}]}, [Trade("A", 1.0, 2.0, NOW)], None),
        ({"sym": "a", "bid": "9", "n": 3, "ask": None}, [Snapshot("A", [Quoted(Side.BID, 9.0, 3.0)], NOW)], None),
        ({"type": "status", "is": "trading"}, [Phase(None, Trading.OPEN)], None),
        ({"type": "status", "sym": "b", "is": "?"}, [Phase("B", Trading.UNKNOWN)], None),
        ({"type": "beat", "seq": 7}, [], 7),
        ({"type": "subscribed"}, [], None),
    ],
)
def test_mapping_when_a_message_is_of_a_kind_gives_what_it_says(message, events, number):
    assert read(message) == (events, number)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "other"}, "no message of the settings fits"),
        ({"e": "t", "live": 1, "sym": "a", "p": 1}, "no message of the settings fits"),
        ({"e": "t", "live": True, "sym": "c", "p": 1}, "'c' is not configured"),
        ({"e": "t", "live": True, "sym": ["a"], "p": 1}, "is not configured"),
        ({"e": "t", "live": True, "sym": "a", "data": [0, {"q": 1}], "p": True}, "the price is missing or no number"),
        ({"e": "t", "live": True, "sym": "a", "data": [0, {"q": 1}], "p": "1,5"}, "the price '1,5' is no number"),
        ({"e": "t", "live": True, "sym": "a", "data": [0, {"q": 1}], "p": "nan"}, "nan is no price"),
        ({"e": "t", "live": True, "sym": "a", "data": [0], "p": 1}, "the size is missing"),
        ({"e": "t", "live": True, "sym": "a", "data": [0, {"q": -1}], "p": 1}, "-1.0 is no size"),
        ({"type": "beat", "seq": -1}, "the sequence -1 is none"),
        ({"type": "beat", "seq": "²"}, "the sequence '²' is none"),
        ({"type": "beat"}, "the sequence is missing"),
        ({"type": "book", "data": {"sym": "a", "ts": "soon", "from": 1, "to": 1}}, "the time 'soon' is none"),
        ({"type": "book", "data": {"sym": "a", "ts": 1, "from": 1, "to": 1}}, "no time of the years"),
        ({"type": "book", "data": {"sym": "a", "from": 1, "to": 1, "b": {"1": 1}}}, "stands no list"),
        ({"type": "book", "data": {"sym": "a", "from": 1, "to": 1, "b": [["1"]]}}, "the size is missing"),
        ({"type": "book", "data": {"sym": "a", "from": 1, "to": 1, "b": ["12"]}}, "the price is missing"),
    ],
)
def test_mapping_when_a_message_cannot_be_used_says_why(message, reason):
    with pytest.raises(Bad, match=reason):
        read(message)


def test_mapping_when_the_venue_says_no_gives_its_words():
    with pytest.raises(Refusal, match="not entitled"):
        read({"type": "error", "why": "not entitled"})


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("s", 1_790_000_000.25),
        ("s", "1790000000.25"),
        ("ms", 1_790_000_000_250),
        ("us", 1_790_000_000_250_000),
        ("ns", 1_790_000_000_250_000_999),
        ("iso", "2026-09-21T14:13:20.25Z"),
        ("iso", "2026-09-21T16:13:20.250+02:00"),
    ],
)
def test_mapping_when_times_are_written_in_any_way_reads_the_microsecond(form, said):
    message = {"type": "trades", "seq": 1, "sym": "a", "list": [{"p": 1, "ts": said}]}
    ((trade,), _) = read(message, time_format=form)
    assert trade.event_time == 1_790_000_000_250_000


def test_mapping_when_numbers_only_rise_holds_nothing_against_them_but_the_order_of_snapshots():
    message = {"type": "snapshot", "sym": "b", "seq": 5, "b": [], "a": []}
    for scope, number in (("instrument", 5), ("connection", None)):
        ((event,), _) = read(message, contiguous=False, scope=scope)
        assert event.sequence == number
    ((event,), _) = read({"type": "book", "data": {"sym": "a", "from": 4, "to": 6}}, contiguous=False)
    assert event.sequence is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["a", "b"])
WORDS = st.sampled_from(["type", "sym", "ts", "from", "to", "b", "a", "seq", "list", "p", "q", "bid", "n", "ask", "is"])
KINDS = st.sampled_from(["book", "snapshot", "trades", "status", "beat", "subscribed", "t"])
JSON = st.recursive(
    SCALARS | KINDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6)
)
MAPPERS = [mapper(), mapper(batched=True), mapper(time_format="iso"), mapper(time_format="ns", scope="connection")]


@settings(max_examples=300)
@given(st.dictionaries(WORDS, JSON, max_size=8) | JSON, KINDS, st.sampled_from(MAPPERS))
def test_mapping_when_the_venue_says_anything_is_refused_or_read_and_never_fails(message, kind, reads):
    if isinstance(message, dict):
        message = {**message, "type": kind}
    try:
        events, number = reads.events(decode(json.dumps(message)), NOW)
    except Bad:
        return
    assert number is None or 0 <= number < 2**63
    for event in events:
        assert event.instrument in {"A", "B"} or isinstance(event, Phase)


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=60) | st.integers(0, 20_000).map(lambda depth: "[" * depth))
def test_decode_when_fed_rubbish_is_refused_or_read_and_never_fails(raw):
    try:
        MAPPERS[0].events(decode(raw), NOW)
    except Bad:
        return
