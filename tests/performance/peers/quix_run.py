"""The benchmark's work in Quix Streams, exactly-once. Runs until its standard input ends.

Conflated by hand, since Quix Streams does not conflate: what an interval changed is
returned by the first tick after it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from progress import Marks, arguments
from quixstreams import Application

given = arguments()
app = Application(
    broker_address=given.kafka,
    consumer_group=given.group,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=given.commit_ms / 1000,
    consumer_poll_timeout=0.1,
    state_dir=given.state,
    loglevel="ERROR",
    auto_create_topics=True,
    consumer_extra_config={"fetch.queue.backoff.ms": 5, "queued.min.messages": 200_000},
    producer_extra_config={
        "compression.type": "lz4",
        "linger.ms": 5,
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 10,
    },
)
marks = Marks(given.marks)
interval = given.commit_ms / 1000
seen = 0
changed: dict[str, dict[str, Any]] = {}
written_at = 0.0


def count() -> None:
    """One tick more."""
    global seen
    seen += 1
    if seen >= marks.next:
        marks.passed(seen)


def book(fill: dict[str, Any], state: Any) -> None:
    """Average cost of fills that open or add; the load has no others."""
    held = state.get("book") or {}
    position = held.get(fill["book"]) or {"quantity": 0.0, "average_price": 0.0}
    signed = float(fill["quantity"]) * (1 if fill["side"] == "buy" else -1)
    cost = position["quantity"] * position["average_price"] + signed * float(fill["price"])
    position["quantity"] += signed
    position["average_price"] = cost / position["quantity"]
    held[fill["book"]] = position
    state.set("book", held)


def position(event: dict[str, Any], state: Any) -> list[dict[str, Any]]:
    """Apply a tick or a fill; what an interval changed, when it is over."""
    global written_at
    if "fill_id" in event:
        book(event, state)
        return []
    mark = (event["bid"] + event["ask"]) * 0.5
    held = state.get("book") or {}
    name, at = event["instrument"], event["event_time"]
    for owner, row in held.items():
        row["mark"], row["unrealised_pnl"] = mark, row["quantity"] * (mark - row["average_price"])
        changed[f"{owner}|{name}"] = {**row, "book": owner, "instrument": name, "event_time": at}
    state.set("book", held)
    count()
    if time.monotonic() - written_at < interval:
        return []
    written_at = time.monotonic()
    rows = list(changed.values())
    changed.clear()
    return rows


def mark(event: dict[str, Any], state: Any) -> dict[str, Any]:
    """One output for every tick, the newest of each instrument in the state."""
    row = {
        "instrument": event["instrument"],
        "mark": (event["bid"] + event["ask"]) * 0.5,
        "sequence": event["sequence"],
        "event_time": event["event_time"],
    }
    state.set("mark", row)
    count()
    return row


def end() -> None:
    """Standard input is closed: the benchmark has what it wanted."""
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end, daemon=True).start()
ticks = app.dataframe(app.topic(given.ticks, value_deserializer="json"))
output = app.topic(given.output, value_serializer="json")
if given.work == "marks":
    ticks.apply(mark, stateful=True).to_topic(output)
else:
    both = ticks.concat(app.dataframe(app.topic(given.fills, value_deserializer="json")))
    rows = both.apply(position, stateful=True, expand=True)
    rows.to_topic(output, key=lambda row: f"{row['book']}|{row['instrument']}")
app.run()
