from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.positions import Positions, PositionsNewest, newest
from schemas import topics
from schemas.base import Side
from schemas.gaps import Feed, GapReason
from schemas.positions import MarkStatus


@pytest.fixture(params=[Positions, PositionsNewest])
def market(request, desk, make):
    opened = desk(request.param)
    opened.send(make.instrument())
    return opened


def only(market):
    (position,) = market.latest(topics.positions).values()
    return position


def test_position_when_filled_and_ticked_has_value_profit_and_proof(market, make):
    market.send(make.fill(quantity=10, price="70.25", fee=Decimal("1.5")), make.tick(mid=71.0, at=1))
    position = only(market)
    assert (position.quantity, position.average_price, position.fees) == (10, Decimal("70.25"), Decimal("1.5"))
    assert (position.mark, position.mark_status) == (71.0, MarkStatus.LIVE)
    assert (position.market_value, position.unrealised_pnl) == (710.0, 7.5)
    assert (position.unit, position.currency) == ("[bbl_us]", "USD")
    assert market.open(position.marked_by, topics.ticks).bid == 70.5
    assert market.open(position.booked_by, topics.fills).fill_id == "f-1"
    assert position.event_time == make.time(1)


def test_fill_when_too_old_to_tell_whether_it_was_booked_is_not_booked(market, make):
    day = 86_400
    market.send(
        make.tick(at=31 * day), make.gap(at=31 * day), make.fill("new", quantity=1, event_time=make.time(31 * day))
    )
    market.send(make.fill("old", quantity=5), make.fill("late", quantity=2, event_time=make.time(2 * day)))
    assert only(market).quantity == 3
    (letter,) = market.dead
    assert letter.reason == "fill f-old is 31 days old; a repeat is known for 30 days only"


def test_position_when_filled_before_any_tick_has_no_mark(market, make):
    market.send(make.fill())
    position = only(market)
    assert (position.mark_status, position.mark, position.market_value) == (MarkStatus.NONE, None, None)


def test_position_when_ticked_before_the_fill_is_marked_at_once(market, make):
    market.send(make.tick(mid=71.0), make.fill())
    assert only(market).mark == 71.0


def test_position_when_an_older_tick_comes_later_keeps_its_mark(market, make):
    market.send(make.fill(), make.tick(mid=71.0, at=2), make.tick(mid=60.0, at=1))
    assert only(market).mark == 71.0


def test_position_when_ticks_are_swapped_within_a_batch_takes_the_newest_by_event_time(desk, make):
    market = desk(Positions)
    market.send(make.instrument(), make.fill())
    market.send(make.tick(mid=71.0, at=2), make.tick(mid=60.0, at=1), run=False)
    assert only(market).mark == 71.0


def test_position_when_a_gap_opens_is_unknown_until_a_tick_is_received_after_it(market, make):
    market.send(make.fill(), make.tick(at=1), make.gap(at=5))
    lost = only(market)
    assert (lost.mark_status, lost.mark, lost.market_value, lost.unrealised_pnl) == (
        MarkStatus.UNKNOWN,
        None,
        None,
        None,
    )
    assert lost.quantity == 10
    market.send(make.tick(mid=90.0, at=2))  # received before the gap, read after it
    assert only(market).mark_status is MarkStatus.UNKNOWN
    market.send(make.gap(at=6, open=False))
    assert only(market).mark_status is MarkStatus.UNKNOWN, "that the missing came late does not make a price fresh"
    market.send(make.tick(mid=72.0, at=7))
    assert (only(market).mark_status, only(market).mark) == (MarkStatus.LIVE, 72.0)


@pytest.mark.parametrize("gap_first", [True, False])
def test_position_when_a_tick_reveals_a_hole_is_live_whichever_topic_is_read_first(market, make, gap_first):
    hole = make.gap(at=5, reason=GapReason.SEQUENCE)
    tick = make.tick(mid=75.0, at=5)
    market.send(make.fill(), make.tick(at=1), *((hole, tick) if gap_first else (tick, hole)))
    assert (only(market).mark_status, only(market).mark) == (MarkStatus.LIVE, 75.0)


def test_position_when_a_telemetry_gap_has_the_same_key_is_untouched(market, make):
    market.send(make.fill(), make.tick(at=1), make.gap(at=5, feed=Feed.TELEMETRY))
    assert only(market).mark_status is MarkStatus.LIVE
    assert not market.dead


def test_position_when_the_newest_tick_has_no_price_loses_its_mark(market, make):
    market.send(make.fill(), make.tick(at=1), make.tick(mid=None, at=2))
    assert (only(market).mark_status, only(market).market_value) == (MarkStatus.NONE, None)


def test_position_when_the_price_is_negative_is_marked_below_zero(market, make):
    market.send(make.fill(quantity=2, price="-36.98"), make.tick(mid=-40.0, at=1))
    assert (only(market).market_value, only(market).average_price) == (-80.0, Decimal("-36.98"))


def test_position_when_books_differ_are_apart(market, make):
    market.send(make.fill(1, book="a"), make.fill(2, Side.SELL, book="b"), make.tick(mid=80.0, at=1))
    found = market.latest(topics.positions)
    assert {key: position.market_value for key, position in found.items()} == {"a|WTI": 800.0, "b|WTI": -800.0}


def test_fill_when_repeated_is_booked_once_even_after_a_crash(market, make):
    market.send(make.fill(1), make.fill(1))
    market.driver.crash()
    market.send(make.fill(1, event_time=make.time(9), receive_time=make.time(9)))
    assert (only(market).quantity, only(market).fills) == (10, 1)
    assert not market.dead


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"price": 71}, "booked before with other contents"),
        ({"fill_id": "f-2", "currency": "EUR"}, "fill in EUR, but WTI trades in USD"),
        ({"fill_id": "f-2", "quantity": "1E+999999"}, "beyond the 1000000000"),
    ],
)
def test_fill_when_it_cannot_be_right_is_a_dead_letter_and_the_next_is_booked(market, make, other, reason):
    market.send(make.fill(1), make.fill(**{"number": 1, **other}), make.fill(3))
    assert [reason in letter.reason for letter in market.dead] == [True]
    assert only(market).quantity == 20


def test_records_when_the_instrument_is_unknown_are_dead_letters_each(desk, make):
    market = desk(Positions)
    market.send(make.instrument("BRENT"))
    unknown = [make.tick(at=n) for n in range(3)]
    market.send(*unknown, make.tick("BRENT", at=1), make.fill(), make.gap(), run=False)
    assert [letter.topic for letter in market.dead] == ["ticks"] * 3 + ["fills", "gaps"]
    assert all("unknown instrument 'WTI'" in letter.reason for letter in market.dead)
    market.send(make.fill(2, instrument="BRENT"))
    assert only(market).mark == 70.0, "the good tick in the same batch was used"


def test_tick_when_its_clock_is_far_ahead_is_a_dead_letter_and_the_next_newest_is_used(market, make):
    ahead = make.tick(mid=99.0, at=1, event_time=make.time(3600))
    market.send(make.fill(), make.tick(mid=71.0, at=1), ahead, run=True)
    market.send(make.tick(mid=72.0, at=2))
    assert [("3599 s later" in letter.reason) for letter in market.dead] == [True]
    assert only(market).mark == 72.0


def test_tick_when_it_stands_under_a_foreign_key_is_a_dead_letter(market, make):
    market.send(make.fill(), make.tick(mid=71.0, at=1))
    market.driver.publish(topics.ticks, "BRENT", make.tick(mid=99.0, at=2))
    market.driver.run()
    assert ["message key is 'BRENT'" in letter.reason for letter in market.dead] == [True]
    assert only(market).mark == 71.0


def test_instrument_when_its_currency_changes_with_fills_booked_is_refused(market, make):
    market.send(make.fill(), make.instrument(currency="EUR"), make.fill(2))
    assert ["cannot become EUR" in letter.reason for letter in market.dead] == [True]
    assert only(market).quantity == 20


BAD = {
    "malformed JSON": b'{"instrument": "WTI", ',
    "a wrong type": b'{"instrument": 5}',
    "NaN": b'{"instrument":"WTI","venue":"S","bid":NaN,"ask":1,"sequence":1,"event_time":1,"receive_time":1}',
    "infinity": b'{"instrument":"WTI","venue":"S","bid":1e999,"ask":1,"sequence":1,"event_time":1,"receive_time":1}',
    "a missing field": b'{"instrument":"WTI"}',
    "two megabytes": b'{"instrument":"' + b"W" * 2_000_000 + b'"}',
    "invalid UTF-8": b'{"instrument":"\xff\xfe"}',
    "the year 1970": b'{"instrument":"WTI","venue":"S","bid":1,"ask":1,"sequence":1,"event_time":1,"receive_time":1}',
    "the year 2100": b'{"instrument":"WTI","venue":"S","bid":1,"ask":1,"sequence":1,'
    b'"event_time":4102444800000000,"receive_time":1795244400000000}',
    "nothing": b"",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("topic", [topics.ticks, topics.fills, topics.gaps], ids=lambda topic: topic.name)
def test_position_when_a_record_is_bad_sets_it_aside_and_takes_the_next(desk, make, raw, topic):
    market = desk(Positions)
    market.send(make.instrument(), make.fill())
    market.driver.publish(topic, "WTI", value=raw)
    market.send(make.tick(mid=71.0, at=1))
    assert [(letter.topic, letter.raw == raw) for letter in market.dead] == [(topic.name, True)]
    assert only(market).mark == 71.0


ticks = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), min_size=1, max_size=60)


@given(ticks)
def test_newest_when_times_are_in_any_order_is_the_last_of_the_latest(make, ticks):
    made = [make.tick(name, at=at) for name, at in ticks]
    expected = {}
    for name in {name for name, _ in ticks}:
        latest = max(at for other, at in ticks if other == name)
        expected[name] = max(i for i, tick in enumerate(ticks) if tick == (name, latest))
    assert newest(made) == expected


events = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(0, 30), st.floats(-50, 150).map(lambda x: round(x, 2))),
        st.tuples(st.just("gap"), st.integers(0, 30), st.just(0.0)),
        st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 9), st.floats(-50, 150).map(lambda x: round(x, 2))),
    ),
    max_size=30,
)


@given(events, st.data())
def test_position_when_grouped_into_any_batches_and_crashed_anywhere_ends_the_same(desk, make, events, data):
    def play(cuts, crash):
        market = desk(Positions)
        market.send(make.instrument())
        for number, (kind, n, price) in enumerate(events):
            if kind == "tick":
                topic, record = topics.ticks, make.tick(mid=price, at=n)
            elif kind == "gap":
                topic, record = topics.gaps, make.gap(at=n)
            else:
                topic, record = topics.fills, make.fill(number, Side(kind), n, price)
            market.driver.publish(topic, "WTI", record)
            if number in cuts:
                market.driver.run()
            if number == crash:
                market.driver.run()
                market.driver.crash()
        market.driver.run()
        return market

    cuts = data.draw(st.sets(st.integers(0, 29)))
    crash = data.draw(st.integers(0, 29))
    one_by_one, grouped = play(set(range(30)), None), play(cuts, crash)
    assert grouped.latest(topics.positions).keys() == one_by_one.latest(topics.positions).keys()
    for key, expected in one_by_one.latest(topics.positions).items():
        found = grouped.latest(topics.positions)[key]
        booked = ("quantity", "realised_pnl", "fees", "fills")
        assert [getattr(found, name) for name in booked] == [getattr(expected, name) for name in booked]
        assert found.mark_status == expected.mark_status
