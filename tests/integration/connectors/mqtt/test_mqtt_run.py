"""The whole way: settings file, runner, simulated devices, broker, Kafka."""

from __future__ import annotations

import threading
from collections import defaultdict
from itertools import islice, pairwise
from pathlib import Path

import connectors.mqtt
from connectors.config import load
from connectors.mqtt.simulator import readings, simulate
from connectors.runner import run_connectors
from schemas.base import Quality
from schemas.telemetry import Telemetry

EXAMPLE = Path(connectors.mqtt.__file__).parent / "example.toml"


def test_run_connectors_when_the_example_meets_the_simulator_every_point_arrives_good_and_in_order(
    mqtt_broker, cluster, tape, tmp_path
):
    host, port = mqtt_broker
    path = tmp_path / "connectors.toml"
    # 3.1.1, so that every broker of the fixture understands it.
    text = EXAMPLE.read_text(encoding="utf-8").replace("port = 1883", f"port = {port}").replace('"5"', '"3.1.1"')
    path.write_text(text, encoding="utf-8")
    stop = threading.Event()
    simulator = threading.Thread(target=simulate, args=(host, port, stop), kwargs={"seed": 3, "interval": 0.05})
    runner = threading.Thread(target=run_connectors, args=(load(path), cluster, stop))
    runner.start()
    simulator.start()
    points = {
        ("battery-1", "soc"), ("battery-1", "power"), ("battery-1", "temperature"),
        ("pipeline-1", "pressure"), ("pipeline-1", "flow"),
    }  # fmt: skip
    try:
        for device, point in points:
            tape.until(lambda d=device, p=point: len(tape.samples(p, d)) >= 20, f"20 samples of {device} {point}")
    finally:
        stop.set()
        runner.join(5)
        simulator.join(10)
    assert not runner.is_alive(), "the connectors stop within 5 s"
    assert not tape.letters()
    assert not tape.gaps("sequence")
    by_point = defaultdict(list)
    # Beside them a gap that is closed, where the broker has kept the goodbye of a battery before this one.
    for sample in (one for one in tape.records if isinstance(one, Telemetry)):
        by_point[sample.device, sample.point].append(sample)
    assert set(by_point) == points
    planned = list(islice(readings(3, 0.05), 5000))
    for (_device, point), samples in by_point.items():
        assert all(sample.quality is Quality.GOOD for sample in samples), samples
        assert all(a.receive_time < b.receive_time for a, b in pairwise(samples))
        if samples[0].sequence:
            assert all(a.sequence + 1 == b.sequence for a, b in pairwise(samples))
            assert [s.value for s in samples] == [getattr(planned[s.sequence - 1], point) for s in samples]
