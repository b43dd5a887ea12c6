from __future__ import annotations

import math
import random
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.market.bridge import Grid, bridge, deviation_at, quotes
from connectors.market.prices import BUNDLED, Close, PricesError, locate, read_closes

prices = st.floats(-1e7, 1e7, allow_nan=False)
steps = st.integers(1, 300)
seeds = st.integers()
NOWHERE = Path("/nonexistent")


def closes_of(*values: float) -> list[Close]:
    return [Close(date(2020, 1, 1) + timedelta(days=i), value) for i, value in enumerate(values)]


@given(prices, prices, steps, st.floats(0, 1e7), seeds)
def test_bridge_when_any_ends_are_given_hits_both_exactly_and_stays_finite(start, end, count, deviation, seed):
    path = bridge(start, end, count, deviation, random.Random(seed))
    assert len(path) == count + 1
    assert (path[0], path[-1]) == (start, end)
    assert all(math.isfinite(value) for value in path)


@given(prices, prices, steps, seeds)
def test_bridge_when_seed_is_the_same_gives_the_same_path(start, end, count, seed):
    paths = [bridge(start, end, count, 3.0, random.Random(seed)) for _ in range(2)]
    assert paths[0] == paths[1]


def test_bridge_when_seed_differs_gives_another_path():
    assert bridge(1, 2, 50, 1.0, random.Random(1)) != bridge(1, 2, 50, 1.0, random.Random(2))


def test_bridge_when_walk_is_free_spreads_as_a_brownian_bridge_does():
    # Halfway, a Brownian bridge over deviation 2 has the standard deviation 2 * sqrt(1/2 * 1/2) = 1.
    rng = random.Random(3)
    middle = [bridge(0, 0, 100, 2.0, rng)[50] for _ in range(4000)]
    assert math.sqrt(sum(x * x for x in middle) / len(middle)) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(("count", "deviation"), [(0, 1.0), (5, -1.0), (5, math.nan), (5, math.inf)])
def test_bridge_when_numbers_make_no_sense_refuses(count, deviation):
    with pytest.raises(ValueError, match=r"steps|finite"):
        bridge(1, 2, count, deviation, random.Random(1))


@given(prices, st.sampled_from(["0.01", "0.001", "0.05", "0.25", "0.03", "1", "5"]), st.integers(0, 100))
def test_quote_when_mid_is_anywhere_is_ordered_and_exactly_on_the_grid(mid, tick, spread):
    quote = Grid(Decimal(tick), spread).quote(mid, 3)
    assert quote.bid <= quote.last <= quote.ask
    for price in (quote.bid, quote.ask, quote.last):
        assert Decimal(repr(price)) % Decimal(tick) == 0
    assert Decimal(repr(quote.ask)) - Decimal(repr(quote.bid)) == spread * Decimal(tick)
    assert abs(quote.last - mid) <= float(tick) * 0.5000001 + abs(mid) * 1e-15


@given(st.lists(st.integers(-5000, 5000), min_size=2, max_size=6), st.integers(1, 40), seeds)
def test_quotes_when_a_day_ends_trade_last_at_its_close(ticks, count, seed):
    closes = closes_of(*(round(t * 0.01, 2) for t in ticks))
    made = list(quotes(closes, Grid(Decimal("0.01"), 2), steps=count, rng=random.Random(seed)))
    assert len(made) == count * (len(closes) - 1)
    assert [quote.last for quote in made[count - 1 :: count]] == [close.price for close in closes[1:]]
    assert all(quote.size >= 1 for quote in made)


def test_quotes_when_the_close_is_negative_end_the_day_there():
    path = locate("wti-daily.csv", NOWHERE)
    assert path is not None
    closes = read_closes(path)
    before = next(i for i, close in enumerate(closes) if close.day == date(2020, 4, 17))
    assert closes[before + 1] == Close(date(2020, 4, 20), -36.98)
    rng = random.Random(1)
    made = list(islice(quotes(closes, Grid(Decimal("0.01"), 2), steps=500, rng=rng, first=before), 500))
    assert made[-1].last == -36.98
    assert (made[-1].bid, made[-1].ask) == (-36.99, -36.97)
    assert all(quote.bid < quote.ask for quote in made)


def test_quotes_when_looping_begin_anew_and_otherwise_end():
    closes, grid = closes_of(1.0, 2.0), Grid(Decimal("0.01"), 0)
    assert len(list(quotes(closes, grid, steps=3, rng=random.Random(1)))) == 3
    looped = list(islice(quotes(closes, grid, steps=3, rng=random.Random(1), loop=True), 9))
    assert [quote.last for quote in looped[2::3]] == [2.0, 2.0, 2.0]


def test_quotes_when_no_close_follows_refuse():
    with pytest.raises(ValueError, match="no close after number 1"):
        next(quotes(closes_of(1.0, 2.0), Grid(Decimal("0.01"), 0), steps=3, rng=random.Random(1), first=1))


def test_deviation_when_closes_move_by_one_is_one():
    assert deviation_at(closes_of(5, 6, 5, 6), 3) == 1.0
    assert deviation_at(closes_of(5, 6), 0) == 0.0


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_prices_when_read_are_sorted_and_plenty(name):
    path = locate(name, NOWHERE)
    assert path is not None
    closes = read_closes(path)
    assert len(closes) > 7000
    assert [c.day for c in closes] == sorted({c.day for c in closes})


def test_bundled_prices_when_a_day_has_no_price_leave_it_out():
    path = locate("henry-hub-daily.csv", NOWHERE)
    assert path is not None
    assert date(2018, 1, 5) not in {close.day for close in read_closes(path)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1.*header Date,Price"),
        ("Datum,Preis\n", "line 1.*header"),
        ("Date,Price\n2020-01-01,1\n", "holds 1 closes"),
        ("Date,Price\n2020-01-01,1\nyesterday,2\n", "line 3: 'yesterday' is no date"),
        ("Date,Price\n2020-01-01,1\n2020-01-01,2\n", "line 3: 2020-01-01 does not come after"),
        ("Date,Price\n2020-01-01,1\n2020-01-02,nan\n", "line 3: 'nan' is no price"),
        ("Date,Price\n2020-01-01,1\n2020-01-02,inf\n", "line 3: 'inf' is no price"),
        ("Date,Price\n2020-01-01,1\n2020-01-02,1e300\n", "line 3: '1e300' is no price"),
        ("Date,Price\n2020-01-01,1\n2020-01-02,much\n", "line 3: 'much' is no price"),
        ("Date,Price\n2020-01-01,1\n2020-01-02\n", "line 3: found 1 columns"),
    ],
)
def test_prices_when_a_line_is_wrong_name_file_and_line(tmp_path, text, says):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(PricesError, match=f"x.csv.*{says}"):
        read_closes(path)


def test_prices_when_bytes_are_no_utf8_name_the_file(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"Date,Price\n2020-01-01,\xff\n")
    with pytest.raises(PricesError, match=r"x\.csv cannot be read"):
        read_closes(path)


def test_locate_when_a_file_stands_beside_the_settings_prefers_it(tmp_path):
    own = tmp_path / "wti-daily.csv"
    own.write_text("Date,Price\n")
    assert locate("wti-daily.csv", tmp_path) == own
    assert locate("other.csv", tmp_path) is None
