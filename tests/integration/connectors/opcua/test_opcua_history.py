"""What a server kept while nobody was connected comes late, with its own time, and says so."""

from __future__ import annotations

from datetime import timedelta

from schemas.base import Quality
from tests.integration.connectors.opcua.plant import MOMENT, Plant, connector, node, settings, unused_port


def micros(moment) -> int:
    return round(moment.timestamp() * 1_000_000)


def test_connector_when_the_connection_was_cut_reads_the_servers_history_of_that_time(tape, running):
    # More than a page of 1000; asyncua's server cuts there without a continuation point.
    missed = [(float(number), MOMENT + timedelta(milliseconds=number)) for number in range(1, 1202)]
    with Plant(unused_port(), "A", "B") as plant:
        plant.historize("A")
        plant.write("A", 0.0)
        plant.write("B", 0.0)
        with running(connector(settings(plant.url, node("a", "A"), node("b", "B"), backfill=3600, keep_alive=5))):
            tape.until(lambda: tape.samples("a") and tape.samples("b"), "the first values")
            plant.cut("A", missed)
            tape.until(lambda: len(tape.samples("a")) >= 1 + len(missed), "all of its values")
            tape.until(lambda: any("backfilled" in gap.detail for gap in tape.gaps()), "that the gap says so")
    live, late = [s for s in tape.samples("a") if not s.reason], [s for s in tape.samples("a") if s.reason]
    assert [(s.value, s.event_time) for s in live] == [(0.0, micros(MOMENT)), (1201.0, micros(missed[-1][1]))]
    assert [(s.value, s.event_time) for s in late] == [(v, micros(t)) for v, t in missed[:-1]]
    assert {(s.reason, s.quality) for s in late} == {("historical", Quality.GOOD)}
    assert {s.value for s in tape.samples("b")} == {0.0}
    opened, closed, filled = tape.gaps("disconnected")[2:]
    assert opened.gap_id == closed.gap_id == filled.gap_id
    assert (opened.open, closed.open, filled.open) == (True, False, False)
    assert filled.detail == "backfilled: 1200 values of 1 points from the server's history"
    assert len(set(tape.ids)) == len(tape.ids)
