"""Files of recorded ticks: CSV, packed CSV and Parquet, good, cut, corrupt and hostile."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from connectors.market.recorded import reading, table, text
from connectors.market.recorded.rows import Row, Unreadable
from schemas import topics
from tests.conftest import wait_until
from tests.unit.connectors.market.recordings import config, play, play_text

CORPUS = Path(__file__).parent / "corpus"
AT = 1_795_168_800_000_000
T = "2026-11-20T10:00:0"
COLUMNS = {"time": "time", "last": "last"}


def csv_rows(path: Path) -> list[Row]:
    return list(text.rows(path, ["time", "last"], ","))


def write(path: Path, columns: dict[str, Any], **how: Any) -> Path:
    parquet.write_table(pa.table(columns), path, **how)
    return path


def played(folder: Path, content: dict[str, Any], **given: Any) -> Any:
    write(folder / "ticks.parquet", content)
    return play(config(folder, files=["*.parquet"], **({"columns": COLUMNS} | given)))


def test_text_when_the_last_line_is_cut_its_number_is_not_believed(tmp_path):
    kept = play_text(tmp_path, f"time,last\n{T}0Z,71.34\n{T}1Z,71.3", columns=COLUMNS)
    assert [tick.last for tick in kept.of(topics.ticks)] == [71.34]
    assert kept.reasons() == ["the last line does not end: the file is cut off, or still being written"]


def test_text_when_the_file_shrinks_while_it_is_read_says_so(tmp_path):
    path = tmp_path / "ticks.csv"
    path.write_text("time,last\n" + f"{T}0Z,1\n" * 50_000)
    size = path.stat().st_size
    reading = text.rows(path, ["time", "last"], ",")
    first = next(reading)
    os.truncate(path, size // 2)
    with pytest.raises(Unreadable, match=f"was {size} bytes long when it was opened, and ends now at {size // 2}"):
        list(reading)
    assert first.values == [f"{T}0Z", "1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"time,price\n", "0 columns are called 'last'; its columns are 'time', 'price'"),
        (b"time,last,last\n", "2 columns are called 'last'"),
        (b"time;last\n", r"""line 1 has no "," but ";": 'time;last'; is it delimiter = ";"\?"""),
        (b"time\tlast\n", r"""is it delimiter = "\\t"\?"""),
        (b"\xff\xfet\x00\n", "line 1 should name the columns"),
        (b"x" * 70_000, "line 1 should name the columns: longer than 65536 bytes"),
    ],
)
def test_text_when_the_header_is_wrong_the_file_is_left(tmp_path, content, said):
    path = tmp_path / "ticks.csv"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=said):
        csv_rows(path)


def test_text_when_it_comes_from_other_systems_is_read(tmp_path):
    path = tmp_path / "ticks.csv"
    path.write_bytes(b'\xef\xbb\xbflast, time \r\n\r\n1,"a,b"\r\n')
    assert [(row.number, row.values) for row in csv_rows(path)] == [(3, ["a,b", "1"])]


def test_text_when_packed_is_read_and_when_the_packing_is_broken_what_was_good_counts(tmp_path):
    path = tmp_path / "ticks.csv.gz"
    whole = gzip.compress(f"time,last\n{T}0Z,1\n".encode() + os.urandom(100_000).hex().encode())
    path.write_bytes(gzip.compress(f"time,last\n{T}0Z,1\n{T}1Z,2\n".encode()))
    assert [row.values[1] for row in csv_rows(path)] == ["1", "2"]
    for broken in (whole[:-50_000], whole[:-8] + b"\0" * 8, b"no gzip at all"):
        path.write_bytes(broken)
        with pytest.raises(Unreadable, match="cannot be read behind line"):
            csv_rows(path)


def test_text_when_packed_is_a_bomb_memory_stays_and_the_file_is_left(tmp_path):
    path = tmp_path / "ticks.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"time,last\n")
        for _ in range(80):
            file.write(b"1" * (1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unreadable, match="without an end of line"):
        csv_rows(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB; unpacked it has 80 MiB


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_text_when_it_is_anything_gives_rows_or_says_why_not(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(b"time,last\n" + content)
    for row in csv_rows(path):
        assert bool(row.problem) != (len(row.values) == 2)


def test_table_when_columns_have_any_fitting_type_the_ticks_are_those_of_the_text(tmp_path):
    when = datetime(2026, 11, 20, 10)
    rows = 12_000
    kept = played(
        tmp_path,
        {
            "time": pa.array([when + timedelta(milliseconds=n) for n in range(rows)], pa.timestamp("ns", "UTC")),
            "symbol": pa.array(["NG" if n % 2 else "GOLD" for n in range(rows)]).dictionary_encode(),
            "bid": pa.array([None if n == 1 else n / 4 for n in range(rows)]),
            "ask": pa.array([Decimal(n) for n in range(rows)], pa.decimal128(20, 4)),
            "last": pa.array([str(n) for n in range(rows)]),
            "size": pa.array(range(rows), pa.uint16()),
            "nobody reads this": pa.array([[n] for n in range(rows)]),
        },
        columns={name: name for name in ("time", "bid", "ask", "last", "size")} | {"instrument": "symbol"},
        instrument=None,
        instruments={"NG": "GAS"},
    )
    ticks = kept.of(topics.ticks)
    assert not kept.letters
    assert len(ticks) == rows // 2
    assert (ticks[0].bid, ticks[0].ask, ticks[0].last, ticks[0].size) == (None, 1, 1, 1)
    last = ticks[-1]
    assert (last.bid, last.ask, last.last, last.event_time) == (11999 / 4, 11999, 11999, AT + 11_999_000)


def test_table_when_times_have_no_zone_they_count_in_that_of_the_settings(tmp_path):
    columns = {"time": pa.array([datetime(2026, 7, 1, 12)], pa.timestamp("ns")), "last": [1.0]}
    (tick,) = played(tmp_path, columns, zone="America/New_York").of(topics.ticks)
    assert tick.event_time == 1_782_921_600_000_000
    assert "names no zone" in played(tmp_path, columns).reasons()[0]


def test_reading_when_times_have_any_unit_they_are_microseconds_and_what_does_not_fit_is_an_error(tmp_path):
    path, when = tmp_path / "t.parquet", datetime(2026, 7, 1, 12)
    for unit in ("s", "ms", "us", "ns"):
        write(path, {"t": pa.array([when, None], pa.timestamp(unit))}, version="2.6")
        assert list(reading.batches(str(path), ["t"])) == [[[(1_782_907_200_000_000, False), None]]]
    write(path, {"t": pa.array([9_300_000_000_000_000], pa.timestamp("ms"))})
    with pytest.raises(pa.ArrowInvalid, match="out of bounds"):
        list(reading.batches(str(path), ["t"]))


def test_table_when_values_are_no_numbers_each_row_is_a_dead_letter(tmp_path):
    last = [float("nan"), float("inf"), None, 1e300, 2.0]
    kept = played(tmp_path, {"time": [AT + n for n in range(5)], "last": last}, time_format="us")
    assert [reason.split(" is ")[0] for reason in kept.reasons()] == [
        "last: nan",
        "last: inf",
        "holds no price",
        "last: 1e+300",
    ]
    assert [source.rpartition(":")[2] for source, _reason, _raw in kept.letters] == ["1", "2", "3", "4"]
    assert [(tick.last, tick.event_time) for tick in kept.of(topics.ticks)] == [(2.0, AT + 4)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"time": [1], "price": [1.0]}, "0 columns are called 'last'"),
        ({"time": [1], "last": [[1.0]]}, "the column 'last' holds list"),
        ({"time": [True], "last": [1.0]}, "the column 'time' holds bool"),
    ],
)
def test_table_when_its_columns_cannot_be_ticks_the_file_is_left(tmp_path, columns, said):
    (reason,) = played(tmp_path, columns).reasons()
    assert said in reason


def test_table_when_a_text_is_endless_it_is_cut_for_the_letter_and_in_memory_once(tmp_path):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000), pa.array(["9" * 20_000_000]))
    content = {"time": [1] * 10_000, "last": texts}
    path = write(tmp_path / "t.parquet", content, dictionary_pagesize_limit=1 << 26)
    read = list(table.rows(path, ["time", "last"], threading.Event()))
    assert {row.values[1] for row in read} == {"9" * 50 + "…"}  # as texts they would be 200 GB


def test_reading_when_it_unpacks_to_more_than_the_memory_allowed_ends_with_a_reason(tmp_path):
    path = write(tmp_path / "t.parquet", {"time": [1], "last": ["9" * 60_000_000]}, compression="zstd")
    assert path.stat().st_size < 100_000
    code = "from connectors.market.recorded import reading; reading.MOST_MEMORY = 340 << 20; reading.main()"
    command = [sys.executable, "-c", code, str(path), "time", "last"]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"alloc" in ended.stderr


def test_table_when_its_reader_is_ended_from_outside_the_file_is_left_and_nothing_else_ends(tmp_path):
    fifo = tmp_path / "fifo.parquet"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        reading_it = pool.submit(lambda: list(table.rows(fifo, ["time"], threading.Event())))
        wait_until(lambda: bool(children()))
        for child in children():
            os.kill(child, signal.SIGSEGV)
        with pytest.raises(Unreadable, match="behind row 0: the library ended with signal 11"):
            reading_it.result(30)


def children() -> list[int]:
    """The processes that this one has started and that read a file."""
    found = [int(pid) for one in Path("/proc/self/task").iterdir() for pid in (one / "children").read_text().split()]
    return [pid for pid in found if reading.__name__ in Path(f"/proc/{pid}/cmdline").read_text()]


def test_table_when_it_is_one_that_once_ended_the_library_the_file_is_left():
    path = CORPUS / "histogram-of-levels.parquet"
    with pytest.raises(Unreadable, match="Definition level histogram size mismatch"):
        list(table.rows(path, ["time", "last"], threading.Event()))


@pytest.mark.parametrize("keep", [(0, -9), (0, 0), (900, None)])
def test_table_when_it_is_cut_the_file_is_left(tmp_path, keep):
    path = write(tmp_path / "t.parquet", {"time": list(range(300)), "last": [str(n) for n in range(300)]})
    path.write_bytes(path.read_bytes()[slice(*keep)])
    with pytest.raises(Unreadable, match="cannot be read behind row 0: "):
        list(table.rows(path, ["time", "last"], threading.Event()))


@settings(max_examples=150)
@given(st.integers(0), st.integers(0, 255))
def test_reading_when_a_byte_of_it_is_changed_gives_rows_or_an_error_of_the_library(tmp_path_factory, place, byte):
    path = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    good = path.with_name("good.parquet")
    if not good.exists():
        write(good, {"time": list(range(300)), "last": [str(n) for n in range(300)]})
    content = bytearray(good.read_bytes())
    content[place % len(content)] = byte
    path.write_bytes(content)
    with suppress(OSError, ValueError, pa.ArrowException):
        for batch in reading.batches(str(path), ["time", "last"]):
            assert len(batch) == 2


def test_table_when_no_batch_comes_for_too_long_or_it_is_stopped_does_not_wait(tmp_path, monkeypatch):
    fifo = tmp_path / "fifo.parquet"
    os.mkfifo(fifo)
    monkeypatch.setattr(table, "PATIENCE", 0.1)
    with pytest.raises(Unreadable, match="nothing for 0"):
        list(table.rows(fifo, ["time"], threading.Event()))
    stopped = threading.Event()
    stopped.set()
    assert list(table.rows(fifo, ["time"], stopped)) == []


times = st.integers(946_684_800_000_000, 4_102_444_799_999_999)


@settings(max_examples=30)
@given(st.lists(st.tuples(times, st.floats(-1e9, 1e9), st.none() | st.text(max_size=5)), min_size=1, max_size=50))
def test_reading_when_any_rows_are_written_the_same_come_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "round.parquet"
    stamps, numbers, words = (list(one) for one in zip(*rows, strict=True))
    columns = {"t": pa.array(stamps, pa.timestamp("us", "UTC")), "n": numbers, "w": pa.array(words, pa.string())}
    write(path, columns, row_group_size=7)
    read = [row for batch in reading.batches(str(path), ["w", "t", "n"]) for row in zip(*batch, strict=True)]
    assert read == [(w, (t, True), n) for t, n, w in rows]
