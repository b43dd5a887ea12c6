from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.base import Coordinates, Quality, Side
from schemas.fills import Fill
from schemas.observations import Observation
from schemas.positions import MarkStatus, Position
from schemas.rules import PriceOf
from schemas.topics import Topic
from sinks.columns import KAFKA, schema_of
from sinks.config import ParquetConfig
from sinks.parquet import Parquet
from sinks.sink import Delivery, Refused, Unavailable

TIME = 1_790_000_000_000_000
DAY = 86_400_000_000
AT = Coordinates(topic="t", partition=0, offset=5)
NEVER = threading.Event()


def fill(number: int) -> Fill:
    return Fill(
        fill_id=f"f{number}",
        order_id="o",
        book="oil",
        instrument="WTI",
        side=Side.SELL,
        quantity=Decimal("1.10"),
        price=Decimal("-36.98"),
        currency="USD",
        venue="REPLAY",
        event_time=TIME + number,
        receive_time=TIME + number,
    )


def delivery(number: int, *, partition: int = 0, time: int = TIME, record: object = None, topic: Topic = topics.fills):
    at = Coordinates(topic=f"x-{topic.name}", partition=partition, offset=number)
    record = fill(number) if record is None else record
    return Delivery(topic, record, at, "WTI", {}, topic.encode(record), time + number * 1000)


def sink(folder: Path, *names: str) -> Parquet:
    return Parquet(ParquetConfig(folder=folder, topics=names or ("fills",)))


def rows(folder: Path) -> list[dict]:
    found = [row for path in sorted(folder.rglob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted(found, key=lambda row: (row["kafka_partition"], row["kafka_offset"]))


def test_file_when_written_keeps_decimals_times_and_coordinates(tmp_path):
    sink(tmp_path).handle([delivery(7)], NEVER)
    (path,) = tmp_path.rglob("*.parquet")
    assert path.parent == tmp_path / "topic=fills" / "date=2026-09-21"
    (row,) = rows(tmp_path)
    assert (row["quantity"], row["price"], row["side"]) == ("1.10", "-36.98", "sell")
    assert row["event_time"].timestamp() * 1e6 == TIME + 7
    assert (row["kafka_partition"], row["kafka_offset"], row["kafka_key"]) == (0, 7, "WTI")
    assert row["kafka_time"].timestamp() * 1e6 == TIME + 7000


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_schema_when_made_for_any_topic_has_every_field(topic):
    names = schema_of(topic.record).names
    assert names == [name for name, _ in KAFKA] + list(topic.record.__struct_fields__)


def test_columns_when_records_are_nested_keep_them_and_choices_become_json(tmp_path):
    position = Position(
        book="oil",
        instrument="WTI",
        currency="USD",
        unit="[bbl_us]",
        quantity=Decimal(3),
        average_price=Decimal("71.66666666666666666666666667"),
        realised_pnl=Decimal(0),
        fees=Decimal("0.06"),
        fills=3,
        mark=None,
        mark_status=MarkStatus.UNKNOWN,
        market_value=None,
        unrealised_pnl=None,
        marked_by=None,
        booked_by=AT,
        event_time=TIME,
        receive_time=TIME,
    )
    observation = msgspec.convert(
        {
            "rule_id": "r",
            "operand": {"source": "price", "instrument": "WTI"},
            "value": -3.5,
            "unit": "USD",
            "quality": "good",
            "origin": {"topic": "ticks", "partition": 1, "offset": 2},
            "event_time": TIME,
            "receive_time": TIME,
        },
        Observation,
    )
    assert observation.quality is Quality.GOOD
    sink(tmp_path, "positions", "observations").handle(
        [
            delivery(1, record=position, topic=topics.positions),
            delivery(2, record=observation, topic=topics.observations),
        ],
        NEVER,
    )
    first, second = rows(tmp_path)
    assert first["average_price"] == "71.66666666666666666666666667"
    assert (first["booked_by"], first["mark"]) == ({"topic": "t", "partition": 0, "offset": 5}, None)
    assert msgspec.json.decode(second["operand"], type=PriceOf) == PriceOf(instrument="WTI")
    assert second["value"] == -3.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.data())
def test_files_when_a_crash_repeats_any_part_hold_each_record_once(tmp_path_factory, sizes, data):
    folder = tmp_path_factory.mktemp("p")
    end, committed = sum(sizes), 0
    # Records over two days and two partitions; after each batch the commit may be lost.
    everything = [delivery(i // 2, partition=i % 2, time=TIME + (i // 7 % 2) * DAY) for i in range(end)]
    for _ in range(60):
        if committed >= end:
            break
        upto = min(end, committed + data.draw(st.integers(1, 12)))
        sink(folder).handle(everything[committed:upto], NEVER)
        if data.draw(st.booleans()):
            committed = upto
    else:
        sink(folder).handle(everything[committed:], NEVER)
    assert [(r["kafka_partition"], r["kafka_offset"]) for r in rows(folder)] == sorted(
        (one.at.partition, one.at.offset) for one in everything
    )


def test_files_when_the_topic_was_made_anew_keep_the_old_and_write_the_new(tmp_path):
    sink(tmp_path).handle([delivery(0), delivery(1)], NEVER)
    sink(tmp_path).handle([delivery(0, time=TIME + 60_000_000)], NEVER)
    assert len(rows(tmp_path)) == 3


def test_folder_when_written_to_holds_no_half_files(tmp_path):
    sink(tmp_path).handle([delivery(0)], NEVER)
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".parquet"]


def test_sink_when_the_disk_does_not_take_it_asks_to_be_tried_again(tmp_path):
    (tmp_path / "topic=fills").write_text("a file is in the way")
    with pytest.raises(Unavailable, match="topic=fills"):
        sink(tmp_path).handle([delivery(0)], NEVER)


def test_sink_when_a_number_does_not_fit_refuses_that_record_and_writes_nothing_yet(tmp_path):
    huge = msgspec.structs.replace(fill(1), event_time=2**70)
    bad = Delivery(topics.fills, huge, Coordinates(topic="x-fills", partition=0, offset=1), "WTI", {}, b"{}", TIME)
    with pytest.raises(Refused) as raised:
        sink(tmp_path).handle([delivery(0), bad, delivery(2)], NEVER)
    assert (raised.value.delivery, raised.value.done) == (bad, 0)


def test_sink_when_a_topic_is_unknown_names_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"no topic fils; there are .*fills"):
        sink(tmp_path, "fils")
