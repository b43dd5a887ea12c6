"""The feed contract against a model: a venue's true book, and a line that loses, repeats and delays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.contract.events import Bad, Phase, Quoted, Side, Snapshot, Trade, Update
from connectors.market.contract.feed import MarketFeed
from connectors.market.contract.hours import Spans
from connectors.market.contract.spec import Content, Out, Scope, Spec
from processors.quotes import NOTHING, Quote, after_gap, after_tick
from schemas import topics
from schemas.base import Coordinates
from schemas.books import BookState, Trading
from schemas.positions import MarkStatus

NOW = 1_790_000_000_000_000
AT = Coordinates(topic="ticks", partition=0, offset=0)


def feed(scope: Scope = Scope.INSTRUMENT, **given: Any) -> MarketFeed:
    made = MarketFeed([Spec(instrument=name, venue="V", **given) for name in ("A", "B")], NOW, scope=scope)
    made.begin(NOW)
    return made


def levels(bid: float, ask: float) -> list[Quoted]:
    return [Quoted(Side.BID, bid, 1.0), Quoted(Side.ASK, ask, 1.0)]


def snapshot(
    bid: float = 1.0, ask: float = 2.0, *, sequence: int | None = 10, name: str = "A", at: int = NOW
) -> Snapshot:
    return Snapshot(name, levels(bid, ask), at, sequence)


def of(out: Sequence[Out], topic: Any) -> list[Any]:
    return [one.record for one in out if one.topic is topic]


def told(out: Sequence[Out]) -> list[tuple[str, bool]]:
    return [(gap.reason.value, gap.open) for gap in of(out, topics.gaps)]


def test_feed_when_started_is_unknown_until_the_snapshot_closes_the_gap():
    market = feed()
    assert told(market.started(NOW)) == [("disconnected", True)] * 2
    assert market.wanting() == ["A", "B"]
    out = market.take(snapshot(), NOW + 5)
    assert [one.topic.name for one in out] == ["gaps", "ticks"]
    assert told(out) == [("disconnected", False)]
    assert market.wanting() == ["B"]


def test_feed_when_a_number_is_missing_opens_a_gap_and_waits_for_the_snapshot():
    market = feed()
    market.take(snapshot(sequence=10), NOW)
    out = market.take(Update("A", [Quoted(Side.BID, 1.5, 1.0)], NOW + 1, 13), NOW + 1)
    (gap,) = of(out, topics.gaps)
    assert (gap.first, gap.last, gap.count, gap.open) == (11, 12, 2, True)
    assert not of(out, topics.ticks)
    assert not market.take(Update("A", [Quoted(Side.BID, 1.6, 1.0)], NOW + 2, 14), NOW + 2)
    out = market.take(snapshot(1.2, 2.0, sequence=12, at=NOW + 3), NOW + 3)
    assert told(out) == [("sequence", False)]
    # what came meanwhile is newer than the snapshot and is in the book
    assert of(out, topics.ticks)[0].bid == 1.6


def test_feed_when_quotes_are_missing_the_next_says_so_and_is_whole_by_itself():
    def quote(bid: float, number: int, market: MarketFeed) -> list[Out]:
        return market.take(Snapshot("A", levels(bid, 9.0), NOW + number, number, number), NOW + number)

    market = feed()
    quote(1.0, 10, market)
    out = quote(1.5, 13, market)
    assert told(out) == [("sequence", True), ("sequence", False)]
    assert [(gap.first, gap.last, gap.count) for gap in of(out, topics.gaps)] == [(11, 12, 2)] * 2
    (tick,) = of(out, topics.ticks)
    assert tick.bid == 1.5
    assert tick.receive_time > of(out, topics.gaps)[1].receive_time
    assert market.wanting() == ["B"]
    assert [told(quote(2.0, number, market)) for number in (12, 14)] == [[], []], "a repeat, and the next"
    assert not told(market.take(snapshot(sequence=20), NOW + 20)), "a book that was asked for may skip numbers"


def test_feed_when_trades_are_missing_closes_the_gap_with_the_next_one():
    market = feed(content=Content.TRADES)
    market.started(NOW)
    market.take(Trade("A", 1.0, 1.0, NOW, 10), NOW)
    out = market.take(Trade("A", 2.0, 1.0, NOW + 1, 13), NOW + 1)
    assert told(out) == [("sequence", True), ("sequence", False)]
    assert [(gap.first, gap.last) for gap in of(out, topics.gaps)] == [(11, 12), (11, 12)]
    assert [tick.last for tick in of(out, topics.ticks)] == [2.0]
    assert told(market.take(Trade("A", 3.0, 1.0, NOW + 2, 14), NOW + 2)) == []


@pytest.mark.parametrize("scope", list(Scope))
def test_feed_when_the_venue_counts_anew_within_a_connection_is_unknown_until_a_snapshot(scope):
    """Otherwise all that it says would be taken for repeats, and the book would look alive for ever."""
    market = feed(scope)
    for name in ("A", "B"):
        market.take(snapshot(sequence=None if scope is Scope.CONNECTION else 10, name=name), NOW, apart=True)
    for number in (11, 12, 12, 13, 12, 14):
        assert not told(market.take(Update("A", [], NOW, number), NOW)), "one alone is a repeat"
    assert not told(market.take(Update("A", [], NOW, 1), NOW))
    out = market.take(Update("A", [Quoted(Side.BID, 1.5, 1.0)], NOW, 2), NOW)
    lost = {gap.key: gap.detail for gap in of(out, topics.gaps)}
    assert set(lost) == ({"A", "B"} if scope is Scope.CONNECTION else {"A"})
    assert "the venue counts anew: it is at number 2" in lost["A"]
    sequence = None if scope is Scope.CONNECTION else 1
    out = market.take(snapshot(sequence=sequence, at=NOW + 1), NOW + 1, apart=True)
    assert told(out) == [("sequence", False)]
    for number in (3, 4, 5):
        (tick,) = of(
            market.take(Update("A", [Quoted(Side.BID, 1.5 + number / 100, 1.0)], NOW, number), NOW), topics.ticks
        )
        assert tick.bid == 1.5 + number / 100


def test_feed_when_the_stream_is_behind_the_snapshot_drops_what_is_in_it():
    market = feed()
    market.take(snapshot(sequence=100), NOW)
    for number in range(90, 101):
        assert not market.take(Update("A", [Quoted(Side.BID, 1.5, 1.0)], NOW, number), NOW)
    assert of(market.take(Update("A", [Quoted(Side.BID, 1.5, 1.0)], NOW, 101), NOW), topics.ticks)


def test_feed_when_the_snapshot_is_older_than_what_was_lost_asks_again():
    market = feed()
    market.take(snapshot(sequence=10), NOW)
    market.take(Update("A", [], NOW, 13), NOW)
    assert not of(market.take(snapshot(sequence=11), NOW), topics.ticks)
    assert "A" in market.wanting()


def test_feed_when_the_connection_counts_makes_every_book_unknown_by_one_hole():
    market = feed(Scope.CONNECTION)
    for name in ("A", "B"):
        market.take(snapshot(sequence=1, name=name), NOW)
    market.number(2, NOW)
    out = market.take(Update("A", [], NOW, 4), NOW)
    assert {gap.key for gap in of(out, topics.gaps)} == {"A", "B"}
    assert market.wanting() == ["A", "B"]


def test_feed_when_the_connection_counts_snapshots_have_their_numbers_and_those_from_elsewhere_have_none():
    market = feed(Scope.CONNECTION)
    market.take(snapshot(sequence=1, name="A"), NOW)
    market.take(snapshot(sequence=2, name="B"), NOW)
    assert told(market.take(Update("A", [], NOW, 3), NOW)) == []
    assert told(market.take(snapshot(sequence=9, name="B"), NOW, apart=True)) == []
    assert market.number(4, NOW) == []
    assert told(market.take(snapshot(1.5, sequence=6, name="B"), NOW)) == [
        ("sequence", True),
        ("sequence", True),
        ("sequence", False),
    ]
    assert market.wanting() == ["A"]


def test_feed_when_the_instruments_count_a_number_of_the_connection_says_nothing():
    market = feed(Scope.INSTRUMENT)
    market.take(snapshot(sequence=1), NOW)
    market.number(5, NOW)
    assert market.number(9, NOW) == []


def test_feed_when_a_message_comes_twice_changes_nothing_and_counts_it():
    market = feed()
    market.take(snapshot(sequence=10), NOW)
    update = Update("A", [Quoted(Side.BID, 1.5, 1.0)], NOW + 1, 11)
    assert of(market.take(update, NOW + 1), topics.ticks)
    assert market.take(update, NOW + 2) == []
    assert market.instruments["A"].duplicates == 1


def test_feed_when_the_book_is_crossed_is_unknown_until_it_is_not():
    market = feed(depth=3, depth_interval=0)
    market.take(snapshot(), NOW)
    out = market.take(Update("A", [Quoted(Side.BID, 2.5, 1.0)], NOW + 1, 11), NOW + 1)
    assert told(out) == [("crossed", True)]
    assert not of(out, topics.ticks)
    assert of(out, topics.books)[0].state is BookState.CROSSED
    out = market.take(Update("A", [Quoted(Side.BID, 2.5, 0.0)], NOW + 2, 12), NOW + 2)
    assert told(out) == [("crossed", False)]
    assert of(out, topics.ticks)[0].bid == 1.0


def test_feed_when_the_book_is_locked_flags_it_and_publishes():
    out = feed(depth=3).take(snapshot(2.0, 2.0), NOW)
    assert of(out, topics.books)[0].state is BookState.LOCKED
    assert of(out, topics.ticks)[0].mark == 2.0


@pytest.mark.parametrize("jump", [3_600_000_000, -3_600_000_000])
def test_feed_when_the_venues_clock_jumps_is_unknown_until_it_is_right_again(jump):
    market = feed()
    market.take(snapshot(), NOW)
    out = market.take(Update("A", [Quoted(Side.BID, 1.1, 1.0)], NOW + jump, 11), NOW + 1)
    assert told(out) == [("clock", True)]
    assert not of(out, topics.ticks)
    out = market.take(Update("A", [Quoted(Side.BID, 1.2, 1.0)], NOW + 2, 12), NOW + 2)
    assert told(out) == [("clock", False)]
    assert of(out, topics.ticks)[0].event_time == NOW + 2


def test_feed_when_silent_in_the_session_opens_a_gap_and_outside_does_not():
    hours = Spans([NOW + 10_000_000, NOW + 100_000_000], [NOW + 50_000_000, NOW + 200_000_000])
    market = feed(stale_after=5_000_000, hours=hours, depth=1)
    market.take(snapshot(), NOW)
    assert market.check(NOW + 9_000_000) == []  # closed
    assert market.check(NOW + 14_000_000) == []  # open for 4 s
    out = market.check(NOW + 16_000_000)
    assert told(out) == [("silence", True)]
    assert of(out, topics.books)[0].state is BookState.STALE
    assert market.check(NOW + 20_000_000) == []
    assert told(market.take(Update("A", [], NOW, 11), NOW + 21_000_000)) == [("silence", False)]
    assert market.check(NOW + 60_000_000) == []  # between the sessions


@pytest.mark.parametrize("jump", [3_600_000_000, -3_600_000_000])
def test_feed_when_our_clock_is_set_measures_silence_and_the_pace_of_books_as_ever(jump):
    passed = 0
    spec = Spec(instrument="A", venue="V", stale_after=5_000_000, depth=1, depth_interval=1_000_000)
    market = MarketFeed([spec], NOW, steady=lambda: passed)
    assert of(market.take(snapshot(), NOW), topics.books)
    assert market.check(NOW + jump) == []
    assert not of(market.take(Update("A", [Quoted(Side.BID, 1.1, 1.0)], NOW, 11), NOW + jump), topics.books)
    passed = 1_000_000
    assert of(market.check(NOW + jump), topics.books)
    passed = 5_000_001
    assert told(market.check(NOW + jump)) == [("silence", True)]


def test_feed_when_the_venue_says_halted_is_not_silent():
    market = feed(stale_after=5_000_000)
    market.take(snapshot(), NOW)
    market.take(Phase(None, Trading.HALTED), NOW)
    assert market.check(NOW + 60_000_000) == []
    market.take(Phase("A", Trading.OPEN), NOW + 60_000_000)
    assert told(market.check(NOW + 70_000_000)) == [("silence", True)]


def test_feed_when_only_trades_come_needs_no_snapshot():
    market = feed(content=Content.TRADES, lot=0.1)
    market.started(NOW)
    out = market.take(Trade("A", 50.0, 0.3, NOW), NOW)
    assert told(out) == [("disconnected", False)]
    tick = of(out, topics.ticks)[0]
    assert (tick.last, tick.size, tick.bid) == (50.0, 3, None)
    # a size that is no whole number of lots is not known, and never rounded
    assert of(market.take(Trade("A", 50.0, 0.25, NOW), NOW), topics.ticks)[0].size == 0


def test_feed_when_orders_are_sent_adds_them_up_and_refuses_an_unknown_one():
    market = feed(depth=2, depth_interval=0)
    orders = [Quoted(Side.BID, 1.0, 2.0, "x"), Quoted(Side.BID, 1.0, 3.0, "y"), Quoted(Side.ASK, 2.0, 1.0, "z")]
    out = market.take(Snapshot("A", orders, NOW), NOW)
    assert of(out, topics.books)[0].bids[0].size == 5.0
    out = market.take(Update("A", [Quoted(Side.BID, None, 0.0, "x")], NOW), NOW + 1)
    assert of(out, topics.books)[0].bids[0].size == 3.0
    with pytest.raises(Bad, match="never entered"):
        market.take(Update("A", [Quoted(Side.BID, None, 0.0, "x")], NOW), NOW + 2)


def test_feed_when_an_instrument_is_not_configured_says_so():
    with pytest.raises(Bad, match="'C' is not configured"):
        feed().take(snapshot(name="C"), NOW)


CHANGES = st.lists(
    st.tuples(st.sampled_from(list(Side)), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=3
)
LINE = st.sampled_from(["good"] * 6 + ["lost", "twice", "late"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CHANGES, LINE, st.booleans()), max_size=40))
def test_feed_when_the_line_is_bad_never_shows_a_price_that_the_venue_did_not_have(script):
    """What a reader of ticks and gaps holds for live is always a top of book that the venue really had last."""
    market = feed()
    truth: dict[Side, dict[float, float]] = {Side.BID: {1.0: 1.0}, Side.ASK: {2.0: 1.0}}
    history: dict[int, tuple[float | None, float | None]] = {}
    quote: Quote = NOTHING
    sequence, now, held, ids = 0, NOW, [], []

    def whole() -> Snapshot:
        every = [Quoted(side, price, size) for side, at in truth.items() for price, size in at.items()]
        return Snapshot("A", every, now, sequence)

    def arrive(event: Any) -> None:
        nonlocal quote
        for one in market.take(event, now):
            ids.append(one.identity)
            assert one.topic.decode(one.topic.encode(one.record)) == one.record
            quote = after_gap(quote, one.record, AT) if one.topic is topics.gaps else after_tick(quote, one.record, AT)

    for one in market.started(now)[:1]:
        quote = after_gap(quote, one.record, AT)
    for changes, line, answered in script:
        now += 1000
        sequence += 1
        for side, price, size in changes:
            if size:
                truth[side][float(price)] = float(size)
            else:
                truth[side].pop(float(price), None)
        history[sequence] = (max(truth[Side.BID], default=None), min(truth[Side.ASK], default=None))
        update = Update("A", [Quoted(side, float(price), float(size)) for side, price, size in changes], now, sequence)
        if line in ("good", "twice"):
            for _ in range(1 if line == "good" else 2):
                arrive(update)
            for late in held:
                arrive(late)
            held.clear()
        elif line == "late":
            held.append(update)
        if answered and "A" in market.wanting():
            arrive(whole())
        one = market.instruments["A"]
        if quote.status is MarkStatus.LIVE:
            assert not one.unknown
            assert (quote.bid, quote.ask) == history[one._sequence]
            assert quote.bid is None or quote.ask is None or quote.bid <= quote.ask
    assert len(set(ids)) == len(ids)


@given(st.lists(st.tuples(st.sampled_from(list(Side)), st.integers(-3, 3), st.integers(0, 2)), max_size=60))
def test_book_when_levels_come_and_go_equals_a_plain_dictionary(changes):
    from connectors.market.contract.book import OrderBook

    book, model = OrderBook(), {Side.BID: {}, Side.ASK: {}}
    for side, price, size in changes:
        book.apply([Quoted(side, float(price), float(size))])
        model[side][float(price)] = float(size)
    for side, turned in ((Side.BID, True), (Side.ASK, False)):
        expected = sorted(((p, s) for p, s in model[side].items() if s), reverse=turned)
        assert [(level.price, level.size) for level in book.best(side, 100)] == expected
