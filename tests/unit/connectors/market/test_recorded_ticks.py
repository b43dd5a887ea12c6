"""Recorded ticks: rows to ticks, gaps and dead letters."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.config import load
from connectors.market.contract.events import Bad
from connectors.market.desk import DUPLICATES
from connectors.market.recorded import connector
from connectors.market.recorded.staging import Staging
from connectors.market.recorded.ticks import Reader
from schemas import topics
from tests.conftest import wait_until
from tests.unit.connectors.market.recordings import COLUMNS, HEAD, Kept, config, play, play_text, problems

T = "2026-11-20T10:00:0"
AT = 1_795_168_800_000_000


def test_recorded_when_rows_are_whole_keeps_times_and_numbers_and_ids_are_the_same_again(tmp_path):
    rows = f"{T}0Z,2.5,2.6,2.55,10,7\n{T}1.250001Z,-1,,,,8\n{T}2+00:00,,,-3.25,4,9\n"
    first, again = play_text(tmp_path, HEAD + rows), play_text(tmp_path, HEAD + rows)

    ticks = first.of(topics.ticks)
    assert [(t.bid, t.ask, t.last, t.size, t.sequence, t.event_time - AT) for t in ticks] == [
        (2.5, 2.6, 2.55, 10, 7, 0),
        (-1, None, 2.55, 10, 8, 1_250_001),  # a side without a quote stays so; the last trade is still the last
        (-1, None, -3.25, 4, 9, 2_000_000),
    ]
    assert not first.letters
    ids = [identity for topic, _key, _tick, identity in first.records if topic is topics.ticks]
    assert ids == ["rec/ticks.csv/2", "rec/ticks.csv/3", "rec/ticks.csv/4"]
    assert ids == [identity for topic, _key, _tick, identity in again.records if topic is topics.ticks]
    assert all(tick.receive_time > tick.event_time for tick in ticks)


def test_recorded_when_it_begins_and_ends_a_gap_is_open_and_the_device_says_so(tmp_path):
    kept = play_text(tmp_path, f"{HEAD}{T}0Z,1,2,,,1\n")
    said = [(gap.open, gap.detail.split(";")[0]) for gap in kept.of(topics.gaps)]
    assert said[0] == (True, "the recording begins")
    assert said[1][0] is False
    assert said[2] == (True, connector.ENDED)
    order = [record for _topic, _key, record, _id in kept.records if _topic in (topics.gaps, topics.ticks)]
    assert [type(one).__name__ for one in order] == ["Gap", "Gap", "Tick", "Gap"]
    times = [one.receive_time for one in order]
    assert times[2] > times[0]
    assert times[3] > times[2], "the price must not look fresh behind the end"
    assert [device.state.value for device in kept.of(topics.devices)] == ["live", "down"]


def test_recorded_when_a_number_is_missing_a_gap_is_open_before_the_tick_and_nothing_is_carried_over(tmp_path):
    rows = f"{T}0Z,1,2,1.5,,1\n{T}1Z,,,9,,5\n{T}2Z,3,4,,,6\n"
    kept = play_text(tmp_path, HEAD + rows)
    assert kept.gaps("sequence") == [(True, 2, 4)]
    (hole,) = [gap for gap in kept.of(topics.gaps) if gap.reason == "sequence"]
    first, shows, then = kept.of(topics.ticks)
    assert first.receive_time < hole.receive_time < shows.receive_time
    assert (hole.count, hole.detail) == (3, "number 5 followed 1")
    assert (shows.bid, shows.ask, shows.last) == (None, None, 9)
    assert (then.bid, then.ask, then.last) == (3, 4, 9)


def test_recorded_when_a_tick_is_late_it_keeps_its_time_closes_its_gap_and_changes_nothing_after(tmp_path):
    rows = f"{T}0Z,1,2,,,1\n{T}2Z,3,4,,,3\n{T}1Z,,,7,,2\n{T}3Z,,,8,,4\n{T}1Z,9,9,9,,2\n"
    before = DUPLICATES.labels("NG")._value.get()
    kept = play_text(tmp_path, HEAD + rows)
    ticks = kept.of(topics.ticks)
    assert [tick.sequence for tick in ticks] == [1, 3, 2, 4]
    assert kept.gaps("sequence") == [(True, 2, 2), (False, 2, 2)]
    late, then = ticks[2:]
    assert (late.event_time, late.bid, late.last) == (AT + 1_000_000, None, 7)
    assert (then.bid, then.ask, then.last) == (3, 4, 8)
    assert DUPLICATES.labels("NG")._value.get() - before == 1


def test_recorded_when_the_book_is_crossed_there_is_a_gap_and_no_tick_until_it_is_apart(tmp_path):
    rows = f"{T}0Z,1,2,,,1\n{T}1Z,3,2,,,2\n{T}2Z,,,2.5,,3\n{T}3Z,2,2,,,4\n"
    kept = play_text(tmp_path, HEAD + rows)
    assert [tick.sequence for tick in kept.of(topics.ticks)] == [1, 4]
    assert [opened for opened, _first, _last in kept.gaps("crossed")] == [True, False]
    assert kept.of(topics.ticks)[1].last == 2.5


def test_recorded_when_late_ticks_come_while_the_book_is_crossed_they_end_nothing(tmp_path):
    rows = f"{T}0Z,1,2,,,1\n{T}4Z,3,2,,,4\n{T}1Z,1,2,,,2\n{T}2Z,9,2,,,3\n{T}5Z,2,3,,,5\n"
    kept = play_text(tmp_path, HEAD + rows)
    assert [tick.sequence for tick in kept.of(topics.ticks)] == [1, 2, 5]
    opened, closed = [gap for gap in kept.of(topics.gaps) if gap.reason == "crossed"]
    assert (opened.event_time, closed.event_time) == (AT + 4_000_000, AT + 5_000_000)
    assert kept.reasons() == ["came late, with a bid above the ask"]


def test_recorded_when_rows_are_no_ticks_each_is_a_dead_letter_with_its_line_and_the_others_are_played(tmp_path):
    bad = {
        b"nan,2,,,1": "bid: nan is no price",
        b"inf,2,,,1": "bid: inf is no price",
        b"1,-Infinity,,,1": "ask: -inf is no price",
        b"1e12,,,,1": "bid: 1000000000000.0 is no price",
        b"x,2,,,1": "bid: the price 'x' is no number",
        b'"1,5",2,,,1': "bid: the price '1,5' is no number; expected a decimal point and no separators, such as 1234.5",
        b"1_0,2,,,1": "bid: the price '1_0' is no number",
        "\uff11,2,,,1".encode(): "bid: the price '\uff11' is no number",
        b",,,,1": "holds no price",
        b"1,2,,-4,1": "-4.0 is no size",
        b"1,2,,4,": "the sequence is missing",
        b"1,2,,4,1.5": "the sequence '1.5' is none",
        b"1,2,,1": "has 5 fields; the header has 6",
        b'"1,2,,,1': "unexpected end of data",
        b"1,2,,,\xff": "can't decode byte 0xff",
        b"1,2,,," + b"1" * 10_000_000: "longer than 65536 bytes",
    }
    lines = [f"{T}1Z,".encode() + fields for fields in bad]
    kept = play_text(tmp_path, HEAD.encode() + b"\r\n".join([*lines, f'{T}2Z,"1",2,,,1'.encode(), b"", b""]))
    assert len(kept.letters) == len(bad)
    for number, ((source, reason, raw), said, line) in enumerate(
        zip(kept.letters, bad.values(), lines, strict=True), 2
    ):
        assert said in reason
        assert source == f"recorded:{tmp_path / 'ticks.csv'}:{number}"
        assert line.startswith(raw)
    assert [(tick.bid, tick.sequence) for tick in kept.of(topics.ticks)] == [(1, 1)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "has no time"),
        ("yesterday", "the time 'yesterday' is none; expected ISO 8601, such as 2026-11-20T10:00:00.25Z"),
        ("2026-11-20T10:00:00", "names no zone"),
        ("1999-11-20T10:00:00Z", "is no time of the years 2000 to 2099"),
        ("2099-01-01T00:00:00Z", "ahead of this machine's clock"),
    ],
)
def test_recorded_when_a_time_cannot_be_the_row_is_a_dead_letter(tmp_path, said, reason):
    kept = play_text(tmp_path, f"{HEAD}{said},1,2,,,1\n")
    assert not kept.of(topics.ticks)
    (letter,) = kept.reasons()
    assert reason in letter


def test_recorded_when_times_are_on_the_wall_they_count_in_the_zone_and_the_hour_of_change_is_refused(tmp_path):
    times = [
        "2026-10-24 12:00:00",
        "2026-10-25 02:30:00",
        "2026-03-29 02:30:00",
        "2026-10-26T12:00:00.5",
        "2026-11-02T00:00Z",
    ]
    text = "time,last\n" + "".join(f"{time},1\n" for time in times)
    kept = play_text(tmp_path, text, columns={"last": "last"}, zone="Europe/Berlin")
    assert [datetime.fromtimestamp(tick.event_time / 1e6, UTC).isoformat() for tick in kept.of(topics.ticks)] == [
        "2026-10-24T10:00:00+00:00",
        "2026-10-26T11:00:00.500000+00:00",
        "2026-11-02T00:00:00+00:00",
    ]
    assert [reason.partition(" is ")[2] for reason in kept.reasons()] == [
        "two moments or none in Europe/Berlin: the clocks are changed then"
    ] * 2


@pytest.mark.parametrize(
    ("form", "said", "micros"),
    [
        ("s", "1795168800.000001", AT + 1),
        ("ms", "1795168800000.5", AT + 500),
        ("us", str(AT + 7), AT + 7),
        ("ns", f"{AT}999", AT),
    ],
)
def test_recorded_when_times_are_numbers_nothing_is_rounded_up(tmp_path, form, said, micros):
    kept = play_text(tmp_path, f"time,last\n{said},1\n", columns={"last": "last"}, time_format=form)
    assert [tick.event_time for tick in kept.of(topics.ticks)] == [micros]


def test_recorded_when_there_are_several_instruments_each_is_named_and_counted_and_others_are_left_out(tmp_path):
    text = f"time;sym;last\n{T}0Z;NG;1\n{T}0Z;BRN;2\n{T}1Z;GOLD;3\n{T}2Z;NG;4\n{T}2Z;;5\n"
    columns = {"instrument": "sym", "last": "last"}
    kept = play_text(
        tmp_path, text, columns=columns, instrument=None, instruments={"NG": "GAS", "BRN": "OIL"}, delimiter=";"
    )
    assert [(key, tick.last, tick.sequence) for topic, key, tick, _id in kept.records if topic is topics.ticks] == [
        ("GAS", 1, 1),
        ("OIL", 2, 1),
        ("GAS", 4, 2),
    ]
    assert kept.reasons() == ["names no instrument"]


def test_recorded_when_times_should_be_numbers_and_are_none_says_which(tmp_path):
    kept = play_text(tmp_path, f"time,last\n{T}0Z,1\n", columns={"last": "last"}, time_format="ms")
    assert kept.reasons() == [f"the time '{T}0Z' is none; expected milliseconds since 1970, a number"]


def test_recorded_when_no_row_has_an_instrument_says_which_the_rows_have(tmp_path):
    rows = "".join(f"{T}{n % 10}Z,X{n},1\n" for n in range(30))
    columns = {"instrument": "sym", "last": "last"}
    given = {"columns": columns, "instrument": None, "instruments": {"NG": "GAS", "X3": "OIL"}}
    kept = play_text(tmp_path, f"time,sym,last\n{rows}", **given)
    ((source, reason, _raw),) = kept.letters
    assert source == f"recorded:{tmp_path / '*.csv'}"
    there = "'X0', 'X1', 'X2', 'X4', 'X5', 'X6', 'X7', 'X8', 'X9', 'X10', …"
    assert reason == f"instruments names 'NG', which no row has; in the column 'sym' stand besides {there}"


def test_recorded_when_played_as_of_now_times_rise_and_a_late_tick_stays_late(tmp_path):
    rows = f"{T}0Z,1,2,,,1\n{T}2Z,3,4,,,3\n{T}1Z,5,6,,,2\n{T}3Z,7,8,,,4\n"
    kept = play_text(tmp_path, HEAD + rows, time="now", venue="REPLAY-ICE")
    ticks = kept.of(topics.ticks)
    assert [tick.sequence for tick in ticks] == [1, 3, 2, 4]
    times = [tick.event_time for tick in ticks]
    assert times[2] < times[1] < times[3]
    assert times[0] > AT + 60_000_000
    assert all(tick.event_time <= tick.receive_time for tick in ticks)
    session = kept.records[-1][3]
    ids = [identity for topic, _key, _tick, identity in kept.records if topic is topics.ticks]
    assert [identity.split("/")[2:] for identity in ids] == [["ticks.csv", str(n)] for n in (2, 3, 4, 5)], session
    again = play(config(tmp_path, time="now", venue="REPLAY-ICE"))
    assert not set(ids) & {identity for _topic, _key, _record, identity in again.records}


def test_recorded_when_kafka_has_no_room_waits_and_loses_nothing(tmp_path):
    (tmp_path / "ticks.csv").write_text(HEAD + "".join(f"{T}0.{n:06d}Z,1,2,,,{n}\n" for n in range(300)))
    kept = play(config(tmp_path), full=3)
    assert [tick.sequence for tick in kept.of(topics.ticks)] == list(range(300))


def test_recorded_when_a_file_makes_no_sense_it_is_left_after_a_thousand_rows_and_the_next_is_played(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD + "x,x,x,x,x,x\n" * 5000)
    (tmp_path / "b.csv").write_text(f"{HEAD}{T}0Z,1,2,,,1\n")
    kept = play(config(tmp_path))
    assert len(kept.letters) == 1001
    assert kept.letters[-1][:2] == (
        f"recorded:{tmp_path / 'a.csv'}",
        "the 1000 rows to 1001 are no ticks; the rest is left",
    )
    assert len(kept.of(topics.ticks)) == 1


def test_recorded_when_it_pauses_an_instrument_is_silent_and_a_stop_is_not_waited_for(tmp_path):
    (tmp_path / "ticks.csv").write_text(f"{HEAD}{T}0Z,1,2,,,1\n{T}4Z,1,2,,,2\n{T}9Z,1,2,,,3\n")
    kept, stop = Kept(), threading.Event()
    given = config(tmp_path, speed=10, silence_after=0.1)
    thread = threading.Thread(target=connector.RecordedConnector([given], kept).run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: kept.gaps("silence")[:2] == [(True, None, None), (False, None, None)])
        assert [tick.sequence for tick in kept.of(topics.ticks)][:1] == [1]
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
    last = kept.of(topics.gaps)[-1]
    assert (last.open, last.detail) == (True, "the recording was stopped")


times = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


@given(times, st.floats(0.01, 1000), st.none() | st.integers(0, 10**9))
def test_staging_when_it_keeps_up_every_tick_is_due_as_recorded_but_for_long_pauses(recorded, speed, longest):
    staging, now, newest = Staging(speed, longest), 5, None
    for at in recorded:
        due = staging.due(at, now)
        pause = 0 if newest is None or at <= newest else round((at - newest) / speed)
        assert due == now + (pause if longest is None else min(pause, longest))
        newest, now = at if newest is None else max(newest, at), due


def test_staging_when_it_was_stalled_catches_up_with_a_second_and_not_more():
    staging = Staging(1.0, None)
    assert staging.due(0, 0) == 0
    assert staging.due(1_000, 60_000_000) == 59_000_000
    assert staging.due(2_000, 60_000_000) == 59_001_000
    assert Staging(None, None).due(10**12, 7) == 7


@given(times, st.sampled_from([None, 0.5, 1.0, 100.0]))
def test_staging_when_played_as_of_now_times_rise_and_the_late_stay_before_the_newest(recorded, speed):
    staging, newest, shown = Staging(speed, None), -1, 0
    for now, at in enumerate(recorded, 10**15):
        played = staging.played("A", at, now)
        assert played < shown if at < newest else played > shown
        newest, shown = max(newest, at), max(shown, played)
    assert staging.played("B", 0, 10**15) == 10**15, "each instrument by itself"


prices = st.floats(-1e9, 1e9, allow_nan=False) | st.none()


@settings(max_examples=60)
@given(st.lists(st.tuples(prices, prices, prices, st.integers(0, 10**18)), min_size=1, max_size=30))
def test_recorded_when_any_ticks_are_written_the_same_come_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("csv")
    text = HEAD
    for n, (bid, ask, last, size) in enumerate(rows):
        fields = ["" if one is None else repr(one) for one in (bid, ask, last)]
        text += f"{T}0.{n:06d}Z,{','.join(fields)},{size},{n}\n"
    kept = play_text(folder, text)
    there = {tick.sequence: tick for tick in kept.of(topics.ticks)}
    for n, (bid, ask, last, _size) in enumerate(rows):
        empty = bid is None and ask is None and last is None
        crossed = bid is not None and ask is not None and bid > ask
        if empty or crossed:
            assert n not in there
        elif n in there:  # a trade while the book is crossed is no tick
            tick = there[n]
            assert last is None or tick.last == last
            assert (bid is None and ask is None) or (tick.bid, tick.ask) == (bid, ask)
            assert tick.event_time == AT + n
    assert len(kept.letters) == sum(bid is None and ask is None and last is None for bid, ask, last, _ in rows)


@settings(max_examples=150)
@given(
    st.lists(
        st.text(max_size=12) | st.floats() | st.integers() | st.none() | st.binary(max_size=8), min_size=6, max_size=6
    )
)
def test_reader_when_given_anything_says_a_true_tick_or_why_not(tmp_path_factory, values):
    reader = Reader(given_config(tmp_path_factory))
    with suppress(Bad):
        told = reader.read(values)
        assert told is not None
        assert all(one is None or math.isfinite(one) for one in (told.bid, told.ask, told.last))
        assert 946_684_800_000_000 <= told.time < 4_102_444_800_000_000


def given_config(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    (folder / "some.csv").write_text(HEAD)
    return config(folder, files=["some.csv"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"files": ["none-*.csv"]}, "there is no file"),
        ({"files": ["notes.txt"]}, "notes.txt: a file of ticks ends in .csv, .csv.gz, .parquet"),
        ({"columns": {"time": "t"}}, "names no price"),
        ({"columns": {"time": "t", "bid": "p", "last": "p"}}, "names a column twice"),
        ({"instruments": {"NG": "GAS"}}, "give instrument, if all ticks are of one"),
        ({"instrument": None}, "give instrument, if all ticks are of one"),
        (
            {"instrument": None, "instruments": {"A": "X", "B": "X"}, "columns": COLUMNS | {"instrument": "s"}},
            "same instrument",
        ),
        ({"time": "now"}, "begin the venue with REPLAY"),
        ({"zone": "Mars/Olympus"}, "is no time zone"),
        ({"files": ["a.csv", "deep/a.csv"]}, "files of one name: a.csv"),
        ({"speed": 0}, "greater than 0"),
        ({"speed": "fast"}, "max"),
    ],
)
def test_recorded_settings_when_wrong_say_what_is_expected(tmp_path, given, said):
    (tmp_path / "deep").mkdir()
    for name in ("a.csv", "deep/a.csv", "notes.txt"):
        (tmp_path / name).write_text(HEAD)
    assert said in problems(tmp_path, **({"files": ["a.csv"]} | given))


def test_recorded_example_when_its_files_are_there_loads(tmp_path):
    for name in ("ticks-1.csv", "ticks-2.csv", "evening.parquet"):
        (tmp_path / name).touch()
    example = Path(connector.__file__).with_name("example.toml")
    (tmp_path / "example.toml").write_text(example.read_text())
    (found,) = load(tmp_path / "example.toml").recorded
    assert [path.name for path in found.paths()] == ["ticks-1.csv", "ticks-2.csv", "evening.parquet"]
    assert found.played == ["HENRY-HUB", "BRENT"]
