"""Reports, corrections and cancellations, in any order, against what the positions would be without them."""

from __future__ import annotations

import re
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.market.contract.events import Bad
from connectors.market.dropcopy.config import DropCopyConfig
from connectors.market.dropcopy.ledger import Ledger
from connectors.market.dropcopy.reports import identifier, read
from connectors.market.fix.codec import Decoder, Message, encode
from processors.holdings import FLAT, book
from schemas import topics
from schemas.base import Coordinates, Side
from schemas.fills import Fill

NOW = 1_790_000_000_000_000
AT = Coordinates(topic="fills", partition=0, offset=0)


def config(**given: Any) -> DropCopyConfig:
    return DropCopyConfig.model_validate(
        {
            "name": "house",
            "host": "127.0.0.1",
            "port": 1,
            "sender": "HOUSE",
            "target": "VENUE",
            "store": "house.db",
            "venue": "X",
            "default_book": "desk",
            "accounts": [{"account": "A1", "book": "gas-desk"}],
            "ignore_accounts": ["THEIRS"],
            "instruments": [
                {"instrument": "NG", "currency": "USD", "contract_size": "10000", "price_factor": "0.01"},
                {"instrument": "P", "currency": "EUR"},
            ],
            **given,
        },
        context={"folder": Path()},
    )


def message(number: str = "E1", kind: str = "F", **given: Any) -> Message:
    values = {37: "O", 17: number, 150: kind, 55: "NG", 54: "1", 32: "2", 31: "350.5", 60: "20261120-10:00:00.250"}
    values |= {int(tag[1:]): value for tag, value in given.items()}
    fields = [(35, "8"), *((tag, value) for tag, value in values.items() if value is not None)]
    (found,) = Decoder().feed(encode(fields))
    assert isinstance(found, Message)
    return found


def ledger() -> Ledger:
    return Ledger(sqlite3.connect(":memory:", isolation_level=None), "house", "X")


def enter(books: Ledger, one: Message) -> tuple[Fill, ...]:
    """What is published; what the ledger keeps is written at once, as when Kafka has it."""
    report = read(one, config())
    entry = None if report is None else books.enter(report, NOW)
    for statement, values in entry.beside if entry else ():
        books._db.execute(statement, values)
    books.forget_waiting()
    return entry.fills if entry else ()


def held(fills: list[Fill]) -> Any:
    holding = FLAT
    for fill in fills:
        assert topics.fills.decode(topics.fills.encode(fill)) == fill
        holding = book(holding, fill, AT)
    return holding


def test_report_when_read_scales_exactly_and_finds_the_book():
    (fill,) = enter(ledger(), message(_1="A1", _12="1.25", _13="1", _136="1", _137="0.5", _138="USD"))
    assert (fill.quantity, fill.price, fill.fee) == (Decimal(20000), Decimal("3.505"), Decimal("3.0"))
    assert (fill.book, fill.fill_id, fill.order_id) == ("gas-desk", "house/20261120/E1/buy", "O")
    assert fill.event_time == 1_795_168_800_250_000


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"_55": "XX"}, "'XX' is not configured"),
        ({"_54": "7"}, "expected 1, 2, 5 or 6"),
        ({"_1": "OTHER"}, "belongs to no book"),
        ({"_32": "0"}, "expected more than 0"),
        ({"_32": "1e5"}, "expected a decimal number"),
        ({"_31": "NaN"}, "expected a decimal number"),
        ({"_31": None}, "tag 31 is missing"),
        ({"_17": None}, r"ExecID \(17\) is missing"),
        ({"_15": "EUR"}, "is configured in USD"),
        ({"_12": "1", "_13": "2"}, "only absolute amounts"),
        ({"_12": "1", "_479": "EUR"}, "CommCurrency"),
        ({"_60": "yesterday"}, "TransactTime"),
        ({"kind": "G"}, "without ExecRefID"),
        ({"kind": "H", "_19": "E9"}, "never booked"),
    ],
)
def test_report_when_it_cannot_be_booked_says_why(given, reason):
    with pytest.raises(Bad, match=reason):
        enter(ledger(), message(**given))


@pytest.mark.parametrize("given", [{"kind": "0"}, {"kind": "4"}, {"kind": "8"}, {"kind": "I"}, {"_1": "THEIRS"}])
def test_report_when_it_says_nothing_of_positions_books_nothing(given):
    assert enter(ledger(), message(**given)) == ()


def test_report_when_it_comes_twice_is_booked_once_and_refused_when_it_differs():
    books = ledger()
    assert len(enter(books, message())) == 1
    assert enter(books, message(_97="Y")) == ()
    with pytest.raises(Bad, match="came before with other contents"):
        enter(books, message(_32="3"))


def test_cancellation_when_it_comes_before_kafka_has_the_trade_finds_it():
    books, settings = ledger(), config()
    for one in (message(), message("E2", "H", _19="E1")):
        entry = books.enter(read(one, settings), NOW)
    assert [fill.side for fill in entry.fills] == [Side.SELL]


def test_cancellation_when_it_comes_twice_under_another_id_is_refused():
    books = ledger()
    enter(books, message())
    enter(books, message("E2", "H", _19="E1"))
    with pytest.raises(Bad, match="was cancelled before"):
        enter(books, message("E3", "H", _19="E1"))


def test_execution_when_its_id_is_used_again_on_another_day_is_another():
    books = ledger()
    fills = [*enter(books, message(_75="20261119")), *enter(books, message(_75="20261120", _32="5"))]
    assert len({fill.fill_id for fill in fills}) == 2
    (back,) = enter(books, message("E2", "H", _19="E1", _75="20261120"))
    assert back.quantity == 50_000


NUMBER = st.integers(1, 500).map(str)
STEP = st.tuples(st.sampled_from("FFFGH"), st.integers(0, 30), NUMBER, NUMBER, st.sampled_from("12"), st.booleans())


@settings(deadline=None)
@given(st.lists(STEP, max_size=25))
def test_position_when_trades_are_corrected_and_cancelled_is_as_if_they_had_never_been_wrong(script):
    books, fills, standing, chain = ledger(), [], {}, {}
    for place, (kind, which, quantity, price, side, again) in enumerate(script):
        number = f"E{place}"
        if kind == "F":
            one = message(number, _54=side, _32=quantity, _31=price, _12="1")
            standing[number], chain[number] = (side, quantity, price), number
        else:
            live = [name for name, root in chain.items() if root in standing]
            if not live:
                continue
            reference = live[which % len(live)]
            root = chain[reference]
            side = standing[root][0]
            one = message(number, kind, _19=reference, _54=side, _32=quantity, _31=price, _12="1")
            chain[number] = root
            if kind == "G":
                standing[root] = (side, quantity, price)
            else:
                del standing[root]
        fills += enter(books, one)
        if again:
            assert enter(books, one) == ()
    right = ledger()
    truth = [
        fill
        for place, (side, quantity, price) in enumerate(standing.values())
        for fill in enter(right, message(f"T{place}", _54=side, _32=quantity, _31=price, _12="1"))
    ]
    got, wanted = held(fills), held(truth)
    assert got.quantity == wanted.quantity
    assert got.fees == wanted.fees
    assert got.realised - got.cost == wanted.realised - wanted.cost
    assert len({fill.fill_id for fill in fills}) == len(fills)


@given(
    st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=3),
    st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=3),
)
def test_identifier_when_parts_differ_differs_and_keeps_the_contract(one, other):
    first, second = identifier("house", *one), identifier("house", *other)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*", first)
    assert len(first) <= 200
    assert (first == second) == (one == other)
