from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.base import Side
from schemas.evidence import Evidence
from schemas.fills import Fill
from schemas.orders import Order
from schemas.ticks import Tick
from sinks.config import VenueConfig
from sinks.matching import Ended, Touch, decide, problem

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
CONFIG = VenueConfig(fee=Decimal("0.02"), max_age=5, longest_wait=60)
TICK = Tick(
    instrument="WTI",
    venue="REPLAY",
    bid=-36.99,
    ask=-36.97,
    sequence=1,
    event_time=NOW - SECOND,
    receive_time=NOW - SECOND,
)
ORDER = Order(
    order_id="o1",
    intent_id="i1",
    book="oil",
    instrument="WTI",
    side=Side.BUY,
    quantity=Decimal("10.5"),
    limit_price=-36.97,
    currency="USD",
    venue="REPLAY",
    checks=[],
    evidence=Evidence(decided_by="rule:r", version=1, inputs=[]),
    expire_time=NOW + 30 * SECOND,
    event_time=NOW,
    receive_time=NOW,
)


def outcome(order: Order = ORDER, tick: Tick | None = TICK, now: int = NOW, arrived: int = NOW) -> Fill | Ended | None:
    return decide(order, arrived, tick, now, CONFIG)


def test_buy_when_ask_is_within_the_limit_fills_at_the_ask_exactly():
    fill = outcome()
    assert isinstance(fill, Fill)
    assert (fill.price, fill.quantity, fill.fee) == (Decimal("-36.97"), Decimal("10.5"), Decimal("0.210"))
    assert (fill.fill_id, fill.order_id, fill.book, fill.currency, fill.venue) == (
        "o1/fill",
        "o1",
        "oil",
        "USD",
        "REPLAY",
    )
    assert (fill.side, fill.event_time) == (Side.BUY, NOW)


def test_sell_when_bid_is_within_the_limit_fills_at_the_bid():
    fill = outcome(replace(ORDER, side=Side.SELL, limit_price=-36.99))
    assert isinstance(fill, Fill)
    assert fill.price == Decimal("-36.99")


@pytest.mark.parametrize(
    ("order", "tick"),
    [
        (replace(ORDER, limit_price=-36.98), TICK),
        (replace(ORDER, side=Side.SELL, limit_price=-36.98), TICK),
        (ORDER, None),
        (ORDER, replace(TICK, ask=None)),
        (ORDER, replace(TICK, receive_time=NOW - 5 * SECOND - 1)),
    ],
    ids=["ask above limit", "bid below limit", "no tick", "no ask", "stale"],
)
def test_order_when_it_cannot_be_filled_waits_and_then_expires(order, tick):
    assert outcome(order, tick) is None
    ended = outcome(order, tick, now=order.expire_time)
    assert isinstance(ended, Ended)
    assert ended.outcome == "expired"


def test_order_when_its_time_is_over_is_not_filled_even_at_a_good_price():
    fresh = replace(TICK, receive_time=ORDER.expire_time)
    assert isinstance(outcome(tick=fresh, now=ORDER.expire_time - 1), Fill)
    assert isinstance(outcome(tick=fresh, now=ORDER.expire_time), Ended)


def test_order_when_it_would_wait_for_years_ends_after_the_longest_wait():
    patient = replace(ORDER, expire_time=NOW + 10**15, limit_price=-99.0)
    assert outcome(patient, now=NOW + 60 * SECOND - 1, arrived=NOW) is None
    assert isinstance(outcome(patient, now=NOW + 60 * SECOND, arrived=NOW), Ended)


def test_order_when_it_is_for_another_venue_is_left_alone():
    ended = outcome(replace(ORDER, venue="ICE"))
    assert isinstance(ended, Ended)
    assert ended.outcome == "foreign"


def test_fill_id_when_order_id_is_as_long_as_allowed_is_still_an_identifier():
    first, again = (outcome(replace(ORDER, order_id="x" * 200)) for _ in range(2))
    assert isinstance(first, Fill)
    assert isinstance(again, Fill)
    assert first.fill_id == again.fill_id
    assert 1 <= len(first.fill_id) <= 200


@given(
    st.sampled_from(Side),
    st.integers(-5000, 5000),
    st.integers(0, 50),
    st.integers(-5000, 5000),
    st.decimals("0.001", "1000000", places=3),
)
def test_fill_when_made_never_is_worse_than_the_limit_and_books_the_fee_exactly(side, bid, spread, limit, quantity):
    tick = replace(TICK, bid=round(bid * 0.01, 2), ask=round((bid + spread) * 0.01, 2))
    fill = outcome(replace(ORDER, side=side, limit_price=round(limit * 0.01, 2), quantity=quantity), tick)
    touch = bid + spread if side is Side.BUY else bid
    within = touch <= limit if side is Side.BUY else touch >= limit
    assert (fill is not None) == within
    if fill is not None:
        assert isinstance(fill, Fill)
        assert fill.price == Decimal(touch) / 100
        assert fill.fee == quantity * Decimal("0.02")


@pytest.mark.parametrize("quantity", ["NaN", "Infinity", "0", "-1", "1E+5000", "1" * 101])
def test_problem_when_quantity_makes_no_sense_says_so(quantity):
    assert "quantity" in problem(replace(ORDER, quantity=Decimal(quantity)))
    assert problem(ORDER) == ""


def test_touch_when_a_tick_comes_late_keeps_the_newer_one():
    touch = Touch("REPLAY")
    late = replace(TICK, event_time=TICK.event_time - 1, bid=1.0)
    touch.update([TICK, late])
    assert touch.get("WTI") is TICK


def test_touch_when_a_new_session_counts_from_one_takes_its_ticks():
    touch = Touch("REPLAY")
    newer = replace(TICK, sequence=1, event_time=TICK.event_time + 1)
    touch.update([replace(TICK, sequence=900), newer])
    assert touch.get("WTI") is newer


def test_touch_when_the_tick_is_from_another_venue_ignores_it():
    touch = Touch("REPLAY")
    touch.update([replace(TICK, venue="NYMEX")])
    assert touch.get("WTI") is None
