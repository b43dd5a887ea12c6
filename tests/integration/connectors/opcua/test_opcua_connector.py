"""The OPC UA connector on asyncua's server: values, states, losses and restarts."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from asyncua.ua.status_codes import StatusCodes

from connectors.metrics import State
from connectors.opcua.simulator import NAMESPACE, simulate
from schemas.base import Quality
from tests.integration.connectors.opcua.plant import MOMENT, Plant, connector, node, settings, state


def test_connector_when_the_farm_simulator_runs_reads_its_points_and_its_dip(tape, running, free_port):
    stop = threading.Event()
    url = f"opc.tcp://127.0.0.1:{free_port}/farm"
    farm = threading.Thread(target=simulate, args=(url, stop), kwargs={"seed": 7, "first_dip": 2.0})
    farm.start()
    nodes = [
        {**node("output_mw", "Wind.Output"), "namespace": NAMESPACE},
        {**node("forecast_mw", "Wind.Forecast"), "namespace": NAMESPACE},
        {**node("wind_speed", "Wind.Speed", unit="m/s"), "namespace": NAMESPACE},
        {**node("nacelle_temp", "Wind.NacelleTemp", unit="Cel"), "namespace": NAMESPACE},
    ]
    try:
        with running(connector(settings(url, *nodes, name="wind-1"))):
            tape.until(
                lambda: any(
                    output.value < 0.6 * forecast.value
                    for output in tape.samples("output_mw")
                    for forecast in tape.samples("forecast_mw")
                    if output.event_time == forecast.event_time
                ),
                "a dip below 60 % of the forecast",
            )
    finally:
        stop.set()
        farm.join()
    for point in ("output_mw", "forecast_mw", "wind_speed", "nacelle_temp"):
        samples = tape.samples(point, "wind-1")
        assert samples
        assert all(sample.quality is Quality.GOOD for sample in samples)
        assert [sample.sequence for sample in samples] == list(range(1, len(samples) + 1))
    assert len(set(tape.ids)) == len(tape.ids)


def test_connector_when_values_change_keeps_number_status_and_source_time(tape, running, plant):
    server = settings(plant.url, node("a", "A", range={"minimum": 0, "maximum": 100}), node("b", "B"))
    with running(connector(server)):
        tape.until(lambda: tape.samples("a") and tape.samples("b"), "the first values")
        plant.write("A", 42.5)
        plant.write("B", 7.0, StatusCodes.BadSensorFailure)
        tape.until(lambda: tape.samples("a")[-1].value == 42.5, "the good value")
        tape.until(lambda: tape.samples("b")[-1].quality is Quality.BAD, "the bad value")
        plant.write("A", 142.5, StatusCodes.UncertainSubNormal)
        plant.write("B", float("nan"))
        tape.until(lambda: tape.samples("a")[-1].value == 142.5, "the doubtful value")
        tape.until(lambda: tape.samples("b")[-1].value is None, "the value that is no number")
        plant.write("A", 43.0, moment=datetime(1970, 1, 1, tzinfo=UTC))
        tape.until(tape.letters, "a dead letter for the clock that was never set")
        plant.write("A", 44.0)
        tape.until(lambda: tape.samples("a")[-1].value == 44.0, "the good value after it")
    good = next(sample for sample in tape.samples("a") if sample.value == 42.5)
    assert good.event_time == int(MOMENT.timestamp()) * 1_000_000 + 250_000
    assert good.receive_time > good.event_time
    assert good.quality is Quality.GOOD
    doubtful = next(sample for sample in tape.samples("a") if sample.value == 142.5)
    assert doubtful.quality is Quality.UNCERTAIN
    assert doubtful.reason == "UncertainSubNormal; 142.5 is outside 0 to 100"
    failed = next(sample for sample in tape.samples("b") if sample.quality is Quality.BAD)
    assert (failed.value, failed.reason) == (None, "BadSensorFailure"), (
        "asyncua's server sends no value with a bad status"
    )
    assert tape.samples("b")[-1].reason == "the value is nan"
    assert "1970" in tape.letters()[0].reason
    assert "s=A" in tape.letters()[0].source
    assert 43.0 not in {sample.value for sample in tape.samples("a")}


def test_connector_when_the_servers_queue_overflows_records_a_gap_before_the_value(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.write("A", 1.0, 0x480)
        tape.until(lambda: len(tape.gaps("overflow")) == 2, "a gap, opened and closed")
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "the value")
    opened, closed = tape.gaps("overflow")
    assert (opened.open, closed.open, opened.point) == (True, False, "a")
    assert opened.receive_time < tape.samples("a")[-1].receive_time
    assert tape.samples("a")[-1].quality is Quality.GOOD


def test_connector_when_a_node_is_missing_only_that_point_is_bad_until_it_appears(tape, running, plant):
    other = {**node("foreign"), "namespace": "urn:test:not-here"}
    with running(connector(settings(plant.url, node("a", "A"), node("later"), other, name="half"))):
        tape.until(lambda: tape.samples("a") and tape.samples("later") and tape.samples("foreign"), "all three")
        tape.until(lambda: state("half") is State.DEGRADED, "the state")
        plant.write("A", 3.0)
        tape.until(lambda: tape.samples("a")[-1].value == 3.0, "the others go on")
        plant.add("later")
        tape.until(lambda: tape.samples("later")[-1].value == 0.0, "the node that has appeared")
    assert "BadNodeIdUnknown" in tape.samples("later")[0].reason
    assert [(s.value, s.quality) for s in tape.samples("foreign")] == [(None, Quality.BAD)]
    assert "no namespace urn:test:not-here" in tape.samples("foreign")[0].reason


def test_connector_when_the_server_restarts_with_other_namespace_numbers_finds_its_nodes(tape, running, free_port):
    first = Plant(free_port, "A")
    with running(connector(settings(first.url, node("a", "A")))):
        with first:
            tape.until(lambda: tape.samples("a"), "the first value")
        tape.until(lambda: len(tape.gaps()) == 3, "a gap for the lost server")
        with Plant(free_port, "A", before=("urn:test:new", "urn:test:newer")) as second:
            second.write("A", 8.0)
            tape.until(lambda: tape.samples("a")[-1].value == 8.0, "the value of the new server")
            tape.until(lambda: len(tape.gaps()) == 4, "the gap is closed")
    assert second.index == first.index + 2
    opened, closed = tape.gaps()[2:]
    assert (opened.open, closed.open, opened.reason) == (True, False, "disconnected")
    assert opened.gap_id == closed.gap_id


def test_connector_when_a_message_is_lost_fetches_it_again(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A"), node("b", "B")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.lose_next_message(for_good=False)
        plant.write("A", 1.0)
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "the value of the lost message")
    assert not tape.gaps("sequence")


def test_connector_when_a_message_is_lost_for_good_records_a_gap_and_begins_anew(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A"), node("b", "B")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.lose_next_message(for_good=True)
        plant.write("A", 1.0)
        tape.until(lambda: len(tape.gaps("sequence")) == 2, "a gap, opened and closed")
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "the present value, by a new subscription")
    opened, closed = tape.gaps("sequence")
    assert (opened.open, closed.open, opened.count) == (True, False, 1)
    assert opened.gap_id == closed.gap_id


def test_connector_when_the_subscription_falls_silent_begins_anew(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.freeze()
        tape.until(lambda: len(tape.gaps("disconnected")) == 4, "a gap, closed by a new subscription")
    assert "not even a keep-alive" in tape.gaps("disconnected")[2].detail


def test_connector_when_a_deadband_is_set_small_changes_do_not_come(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A", deadband={"absolute": 5}), node("b", "B")))):
        tape.until(lambda: tape.samples("a") and tape.samples("b"), "the first values")
        plant.write("A", 1.0)
        plant.write("B", 1.0)
        tape.until(lambda: tape.samples("b")[-1].value == 1.0, "the point without deadband")
        plant.write("A", 20.0)
        tape.until(lambda: tape.samples("a")[-1].value == 20.0, "the large change")
    assert [sample.value for sample in tape.samples("a")] == [0.0, 20.0]


def test_connector_when_the_server_has_no_triggers_the_point_is_bad_and_never_reported_on_its_own(tape, running, plant):
    points = [node("a", "A"), node("b", "B", triggered_by="a")]
    with running(connector(settings(plant.url, *points, name="plain"))):
        tape.until(lambda: tape.samples("a") and tape.samples("b"), "both points")
        tape.until(lambda: state("plain") is State.DEGRADED, "the state")
        plant.write("B", 5.0)  # asyncua's server reports it nonetheless
        plant.write("A", 5.0)
        tape.until(lambda: tape.samples("a")[-1].value == 5.0, "the trigger goes on")
    assert tape.samples("b")[-1].quality is Quality.BAD
    assert ": the server does not let a trigger it; without triggered_by" in tape.samples("b")[-1].reason
    assert 5.0 not in {sample.value for sample in tape.samples("b")}
