"""The benchmark's work in Faust, at-least-once: with exactly-once it does not keep going. Runs until its standard input
ends. Decodes and encodes with msgspec, which is faster than Faust's own records."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import faust
import msgspec
from progress import Marks, arguments


class Tick(msgspec.Struct, gc=False):
    """The fields that the work needs."""

    instrument: str
    bid: float
    ask: float
    sequence: int
    event_time: int


class Fill(msgspec.Struct, gc=False):
    """The fields that the work needs."""

    book: str
    instrument: str
    side: str
    quantity: str
    price: str


given = arguments()
sys.argv = [sys.argv[0], "worker", "--loglevel", "warn", "--without-web"]
app = faust.App(
    given.group,
    datadir=given.state,
    broker=f"kafka://{given.kafka}",
    store="memory://",
    topic_partitions=4,
    value_serializer="raw",
    key_serializer="raw",
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    producer_linger_ms=0,  # its buffer of 100 records is flushed again and again, and each flush would wait for it
    broker_commit_interval=given.commit_ms / 1000,
)
ticks = app.topic(given.ticks, value_serializer="raw", key_serializer="raw")
fills = app.topic(given.fills, value_serializer="raw", key_serializer="raw")
output = app.topic(given.output, partitions=4, value_serializer="raw", key_serializer="raw")
table = app.Table("state", partitions=4, key_type=bytes, value_type=bytes, use_partitioner=True)  # take() has no event
marks = Marks(given.marks)
decode_tick = msgspec.json.Decoder(Tick).decode
decode_fill = msgspec.json.Decoder(Fill).decode
decode_book = msgspec.json.Decoder(dict[str, dict[str, Any]]).decode
encode = msgspec.json.Encoder().encode
seen = 0


def count(more: int) -> None:
    """Ticks more."""
    global seen
    seen += more
    if seen >= marks.next:
        marks.passed(seen)


async def prepared() -> None:
    """The producer knows the table's changelog. A change of the table asks for its partition without waiting for that,
    and an agent that comes first crashes."""
    await app.producer._ensure_producer().partitions_for(table.changelog_topic.get_topic_name())


async def booked(stream: Any) -> None:
    """Average cost of fills that open or add; the load has no others."""
    await prepared()
    async for raw in stream:
        fill = decode_fill(raw)
        key = fill.instrument.encode()
        held = decode_book(table.get(key) or b"{}")
        row = held.setdefault(fill.book, {"quantity": 0.0, "average_price": 0.0})
        signed = float(fill.quantity) * (1 if fill.side == "buy" else -1)
        cost = row["quantity"] * row["average_price"] + signed * float(fill.price)
        row["quantity"] += signed
        row["average_price"] = cost / row["quantity"]
        table[key] = encode(held)


async def positions(stream: Any) -> None:
    """Every tick applied; of each instrument the newest of a batch written. A shorter ``within`` makes smaller batches,
    and more outputs a tick: a fifth of the speed."""
    await prepared()
    async for batch in stream.take(5_000, within=1.0):
        newest = {tick.instrument: tick for tick in map(decode_tick, batch)}
        rows: list[tuple[bytes, bytes]] = []
        for name, tick in newest.items():  # nothing is awaited in here: the other agent changes the same table
            held = decode_book(table.get(name.encode()) or b"{}")
            mark = (tick.bid + tick.ask) * 0.5
            for owner, row in held.items():
                row["mark"], row["unrealised_pnl"] = mark, row["quantity"] * (mark - row["average_price"])
                value = {**row, "book": owner, "instrument": name, "event_time": tick.event_time}
                rows.append((f"{owner}|{name}".encode(), encode(value)))
            table[name.encode()] = encode(held)
        for key, value in rows:
            await output.send(key=key, value=value)
        count(len(batch))


async def each(stream: Any) -> None:
    """One output for every tick, the newest of each instrument in the table."""
    await prepared()
    async for raw in stream:
        tick = decode_tick(raw)
        row = {
            "instrument": tick.instrument,
            "mark": (tick.bid + tick.ask) * 0.5,
            "sequence": tick.sequence,
            "event_time": tick.event_time,
        }
        table[tick.instrument.encode()] = value = encode(row)
        await output.send(key=tick.instrument.encode(), value=value)
        count(1)


def end() -> None:
    """Standard input is closed: the benchmark has what it wanted."""
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end, daemon=True).start()
if given.work == "marks":
    app.agent(ticks)(each)
else:
    app.agent(fills)(booked)
    app.agent(ticks)(positions)
app.main()
