from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.arrival import Arrival
from processors.gate import Gate
from processors.limits import Limits
from processors.positions import Positions
from processors.proforma import Stake, Working, reserved
from schemas import topics
from schemas.base import Side
from schemas.limits import Measure

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
def venue(desk, make):
    """The chain from ticks and fills to orders: a book long 100 bbl at 70 with hard limits far away."""
    opened = desk(Positions, Limits, Arrival, Gate, partitions=2)
    opened.send(make.instrument(), make.limit(soft=50_000, hard=100_000))
    opened.send(make.fill(0, BUY, 100), make.tick(mid=70.0))
    return opened


def orders(venue):
    return venue.all(topics.orders)


def refused(venue):
    """The failed checks of the only rejection, and its reasons."""
    (rejection,) = venue.all(topics.rejections)
    return {check.name: check.reason for check in rejection.checks if not check.passed}


def test_intent_when_every_check_passes_becomes_an_order_with_its_proof(venue, make):
    venue.send(make.intent(at=1))
    (order,) = orders(venue)
    assert (order.order_id, order.quantity, order.limit_price) == ("i-1:order", 10, 71.0)
    assert (order.currency, order.venue, order.expire_time) == ("USD", "SIM", make.time(6))
    assert (order.evidence.decided_by, order.evidence.version) == ("rule:test", 3)
    names = ["kill-switch", "instrument", "price", "age", "size", "collar", "limit:oil-gross", "breach"]
    assert [(check.name, check.passed) for check in order.checks] == [(name, True) for name in names]
    opened = {one.role: venue.open(one.at, topics.BY_NAME[one.at.topic]) for one in order.evidence.inputs}
    assert opened["intent"].intent_id == "i-1"
    assert opened["price"].mark == 70.0
    assert opened["exposure"].gross == 7000.0
    assert opened["position"].quantity == 100
    assert opened["limit"].hard == 100_000
    assert opened["instrument"].lot_size == 10
    assert not venue.all(topics.rejections)


@pytest.mark.parametrize(
    ("other", "failed"),
    [
        ({"instrument": "GOLD"}, {"instrument", "price", "size", "collar", "limits"}),
        ({"quantity": 15}, {"size"}),
        ({"quantity": 1010}, {"size"}),
        ({"quantity": "1E-999999"}, {"size"}),
        ({"quantity": "1E+999999"}, {"size", "limit:oil-gross"}),
        ({"collar": 0.4}, {"collar"}),
        ({"collar": 0.4, "side": SELL}, {"collar"}),
        ({"collar": 1e9}, {"collar"}),
        ({"at": 6}, {"price"}),
        ({"at": -6}, {"age"}),
        ({"quantity": 1005, "collar": 0.1, "at": 60}, {"price", "size", "collar"}),
    ],
)
def test_intent_when_something_is_wrong_is_refused_with_every_reason(venue, make, other, failed):
    venue.send(make.intent(**other))
    assert refused(venue).keys() == failed
    assert all(refused(venue).values())
    assert not orders(venue)
    assert not venue.dead


def test_intent_when_refused_says_what_and_by_how_much(venue, make):
    venue.send(make.intent(quantity=1010, collar=0.25, at=8))
    reasons = refused(venue)
    assert reasons["size"] == "1 010 bbl is more than the 1 000 bbl that one order may hold"
    assert reasons["price"] == "the price is 8 s old; at most 5 s is traded on"
    assert reasons["collar"] == "ask 70.5 is beyond mark 70 + collar 0.25 = 70.25"


def test_intent_when_there_is_no_tick_or_a_gap_is_refused(desk, venue, make):
    venue.send(make.gap(at=1), make.intent(at=2))
    reasons = refused(venue)
    assert "open gap (silence)" in reasons["price"]
    assert "unknown" in reasons["limit:oil-gross"] or "without a price" in reasons["limit:oil-gross"]
    bare = desk(Positions, Limits, Arrival, Gate)
    bare.send(make.instrument(), make.intent())
    assert "no tick was received yet" in refused(bare)["price"]


@pytest.mark.parametrize("scope", ["all", "book:oil-desk"])
def test_intent_when_a_kill_switch_is_engaged_is_refused_until_it_is_released(venue, make, scope):
    venue.send(make.switch(scope), make.intent())
    (rejection,) = venue.all(topics.rejections)
    assert (rejection.evidence.decided_by, rejection.evidence.version) == (f"control:{scope}", 7)
    assert "trading is stopped" in refused(venue)["kill-switch"]
    control = next(one.at for one in rejection.evidence.inputs if one.role == "control")
    assert venue.open(control, topics.control).engaged
    venue.send(make.switch(scope, engaged=False), make.intent(2))
    assert len(orders(venue)) == 1


def test_intent_when_the_switch_of_another_book_is_engaged_passes(venue, make):
    venue.send(make.switch("book:gas-desk"), make.intent())
    assert len(orders(venue)) == 1


def test_intent_when_repeated_is_answered_once_even_after_a_crash(venue, make):
    venue.send(make.intent(1), make.intent(1))
    venue.driver.crash()
    venue.send(make.intent(1), make.intent(2, quantity=15), make.intent(2, quantity=20))
    assert [order.intent_id for order in orders(venue)] == ["i-1"]
    assert [rejection.intent_id for rejection in venue.all(topics.rejections)] == ["i-2"]


def test_limit_when_the_order_would_exceed_it_refuses_and_is_named(venue, make):
    venue.send(make.limit(version=4, soft=7_000, hard=7_500))
    venue.send(make.intent())
    (rejection,) = venue.all(topics.rejections)
    assert (rejection.evidence.decided_by, rejection.evidence.version) == ("limit:oil-gross", 4)
    reason = refused(venue)["limit:oil-gross"]
    assert reason == "gross with this and working orders 7 700 USD would be above the hard limit 7 500 USD"


def test_limit_when_orders_are_working_counts_them_until_they_expire(venue, make):
    venue.send(make.limit(version=2, soft=7_000, hard=8_400))
    venue.send(*(make.intent(n) for n in range(3)))
    assert len(orders(venue)) == 2, "7000 and twice 700 reach the limit"
    venue.send(make.tick(at=5), make.intent(4, at=5))
    assert len(orders(venue)) == 3, "the first two are dead by then"


def test_limit_when_breached_lets_only_reducing_orders_through(venue, make):
    venue.send(make.limit(version=2, soft=1_000, hard=2_000))
    venue.send(make.intent(1), make.intent(2, SELL, 200, collar=1.0))
    assert [sorted(c.name for c in r.checks if not c.passed) for r in venue.all(topics.rejections)] == [
        ["breach", "limit:oil-gross"],
        ["breach", "limit:oil-gross"],
    ], "neither more, nor through zero to as much on the other side"
    venue.send(make.intent(3, SELL, 60))
    assert [order.intent_id for order in orders(venue)] == ["i-3"]
    venue.send(make.intent(4, SELL, 60))
    assert len(orders(venue)) == 1, "with 60 working, 60 more would cross zero"


def test_limit_when_another_currency_is_breached_lets_only_reducing_orders_through(venue, make):
    venue.send(make.instrument("GAS", currency="EUR"), make.fill(9, instrument="GAS", currency="EUR"), make.tick("GAS"))
    venue.send(make.limit("gas", soft=1, hard=2, currency="EUR"))
    venue.send(make.intent(1), make.intent(2, SELL))
    assert refused(venue).keys() == {"breach"}
    assert [order.intent_id for order in orders(venue)] == ["i-2"]


def test_limit_when_exposure_is_unknown_refuses(venue, make):
    venue.send(make.instrument("BRENT"), make.fill(9, instrument="BRENT"), make.intent())
    assert "no live mark for BRENT" in refused(venue)["limit:oil-gross"]


@pytest.mark.parametrize(("hard", "passed"), [(150, True), (90, False)])
def test_limit_when_on_loss_refuses_what_does_not_reduce_once_it_is_exceeded(venue, make, hard, passed):
    venue.send(make.limit("oil-loss", measure=Measure.LOSS, soft=10, hard=hard), make.tick(mid=69.0, at=1))
    venue.send(make.intent(at=1))
    assert len(orders(venue)) == passed
    venue.send(make.intent(2, SELL, at=1))
    assert len(orders(venue)) == 1 + passed, "a loss must not lock the position in"


def test_book_when_it_has_no_exposure_yet_counts_as_zero(venue, make):
    venue.send(make.limit("new", book="new-desk", soft=500, hard=700))
    venue.send(make.intent(1, book="new-desk"), make.intent(2, book="new-desk"))
    assert [order.intent_id for order in orders(venue)] == ["i-1"], "the second would stand beside the first"


def test_book_when_it_has_no_limit_says_so(venue, make):
    venue.send(make.intent(book="free-desk"))
    (order,) = orders(venue)
    assert next(c for c in order.checks if c.name == "limits").reason == "the book has no limit in this currency"


def test_price_when_quotes_are_one_sided_refuses_the_side_without(venue, make):
    venue.send(make.tick(mid=None, at=1, bid=69.5, last=70.0), make.intent(1, at=1), make.intent(2, SELL, at=1))
    assert refused(venue)["collar"] == "nobody offers: there is no ask"
    assert [order.limit_price for order in orders(venue)] == [69.0]


def test_price_when_collar_is_added_is_added_as_a_decimal(venue, make):
    venue.send(make.tick(mid=None, at=1, bid=71.35, ask=71.35), make.intent(collar=0.1, at=1))
    assert orders(venue)[0].limit_price == 71.45


def test_records_when_bad_are_set_aside_and_the_next_intent_is_decided(venue, make):
    venue.driver.publish(topics.intents, "WTI", value=b"{")
    venue.driver.publish(topics.intents, "BRENT", make.intent(8))
    venue.driver.publish(topics.exposures, "x|y", venue.all(topics.exposures)[0])
    venue.driver.publish(topics.limits, "wrong", make.limit("l"))
    venue.send(make.intent(1))
    assert sorted(letter.topic for letter in venue.dead if letter.application in ("arrival", "gate")) == sorted(
        ["intents", "intents", "exposures", "limits", "limits"]
    )
    assert len(orders(venue)) == 1


amounts = st.integers(-50, 50).map(lambda n: n * 10.0)


@given(
    st.dictionaries(st.sampled_from("abc"), amounts),
    st.lists(st.tuples(st.sampled_from("abc"), amounts), max_size=6),
    st.sampled_from("abc"),
    amounts,
    st.sampled_from([Measure.GROSS, Measure.NET]),
)
def test_stake_when_any_working_orders_fill_is_never_exceeded(make, values, open_orders, instrument, order, measure):
    """Brute force over every subset of working orders that may fill, per measure."""
    working = [Working(str(i), name, "USD", Decimal(int(v)), v, 0) for i, (name, v) in enumerate(open_orders)]
    stake = Stake(
        gross=sum(map(abs, values.values())),
        net=sum(values.values()),
        values=values,
        losses={},
        working=reserved(working),
        instrument=instrument,
        order=order,
    )
    _, after = stake.measure(make.limit(measure=measure))
    worst = 0.0
    for mask in range(2 ** len(working)):
        book = dict(values)
        filled = [(w.instrument, w.value) for i, w in enumerate(working) if mask >> i & 1]
        for name, value in [*filled, (instrument, order)]:
            book[name] = book.get(name, 0.0) + value
        worst = max(worst, abs(sum(book.values())) if measure is Measure.NET else sum(map(abs, book.values())))
    assert after >= worst
