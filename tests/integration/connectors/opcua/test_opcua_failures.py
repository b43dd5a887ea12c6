"""What the failure matrix in docs/connectors.md says of OPC UA, on asyncua's server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from connectors.metrics import State
from schemas.base import Quality
from schemas.telemetry import Telemetry
from tests.integration.connectors.opcua.plant import Plant, connector, node, settings, state, unused_port


def test_opcua_when_the_cable_is_pulled_the_gap_opens_and_closes_with_the_next_data(tape, running, plant, cable):
    line = cable(int(plant.url.split(":")[2].split("/")[0]))
    url = f"opc.tcp://{line.address[0]}:{line.address[1]}/plant"
    with running(connector(settings(url, node("a", "A"), keep_alive=1))):
        tape.until(lambda: tape.samples("a"), "the first value")
        line.pull()
        tape.until(lambda: len(tape.gaps("disconnected")) == 3, "noticed")
        plant.write("A", 5.0)
        line.plug()
        tape.until(lambda: tape.samples("a")[-1].value == 5.0, "the value that was written meanwhile")
        tape.until(lambda: not tape.gaps("disconnected")[-1].open, "the gap is closed")
    opened = tape.gaps("disconnected")[2]
    assert (opened.key, opened.point, opened.open) == ("d", None, True)


def test_opcua_when_clocks_jump_no_time_is_changed_and_the_session_lives_on(tape, running, plant, machine_clock):
    hour = timedelta(hours=1)
    now = datetime.now(UTC).replace(microsecond=250_000)
    with running(connector(settings(plant.url, node("a", "A", silence=1800), keep_alive=5))):
        tape.until(lambda: tape.samples("a"), "the first value")
        first = len(tape.samples("a"))
        for value, moment in ((1.0, now + hour), (2.0, now - hour), (3.0, now)):
            plant.write("A", value, moment=moment)
        tape.until(lambda: len(tape.samples("a")) >= first + 3, "the source's clock has jumped")
        for ahead in (hour, -2 * hour):
            machine_clock.jump(ahead // timedelta(microseconds=1))
            machine_clock.until_read(3)
        plant.write("A", 4.0, moment=now)
        tape.until(lambda: tape.samples("a")[-1].value == 4.0, "the machine's clock has jumped")
    jumped = tape.samples("a")[first : first + 3]
    assert [s.value for s in jumped] == [1.0, 2.0, 3.0]
    assert [s.event_time for s in jumped] == [
        round(moment.timestamp() * 1e6) for moment in (now + hour, now - hour, now)
    ]
    assert [s.quality for s in jumped] == [Quality.UNCERTAIN, Quality.GOOD, Quality.GOOD]
    assert not tape.gaps("silence"), "half an hour has not passed"
    assert len(tape.gaps("disconnected")) == 2, "the session lives on"
    times = [record.receive_time for record in tape.records if isinstance(record, Telemetry)]
    assert times == sorted(times), "receive times never go back"


def test_opcua_when_one_of_900_nodes_is_bad_the_others_are_watched_in_portions_that_the_server_takes(tape, running):
    names = [f"N{number}" for number in range(900)]
    with Plant(unused_port(), *(name for name in names if name != "N450")) as plant:
        portions = plant.take_at_once(250)
        server = settings(plant.url, *(node(name) for name in names), keep_alive=5, backoff_ceiling=60, timeout=10)
        with running(connector(server)):
            tape.until(lambda: len({r.point for r in tape.records if isinstance(r, Telemetry)}) == 900, "all points")
            plant.write("N899", 9.0)
            tape.until(lambda: tape.samples("N899")[-1].value == 9.0, "a change")
            tape.until(lambda: state("d") is State.DEGRADED, "the state")
    bad = {r.point for r in tape.records if isinstance(r, Telemetry) and r.quality is Quality.BAD}
    assert bad == {"N450"}
    assert "BadNodeIdUnknown" in tape.samples("N450")[0].reason
    assert portions == [250, 250, 250, 150]
