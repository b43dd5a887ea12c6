"""Structures whose layout is not what it was, or not what another server has: no number may come of the wrong bytes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asyncua import ua

from schemas.base import Quality
from tests.integration.connectors.opcua.plant import Plant, connector, node, settings, unused_port

POWER, PHASE, AGE = ("Power", ua.VariantType.Double), ("Phase", ua.VariantType.Int16), ("Age", ua.VariantType.Double)
VALUES = {"Power": 42.5, "Phase": 3, "Age": 1.25}
SPAWN = multiprocessing.get_context("spawn")


def serve(port: int, fields: dict[str, ua.VariantType], ready: Any) -> None:
    """A server in a process of its own: this one must know its types by what it tells only."""
    with Plant(port) as plant:
        kind = plant.structure("GridtapeTwin", fields)
        plant.build("Meter", kind(**{name: VALUES[name] for name in fields}))
        ready.set()
        threading.Event().wait(60)


@contextmanager
def served(port: int, *fields: tuple[str, ua.VariantType]) -> Iterator[None]:
    ready = SPAWN.Event()
    process = SPAWN.Process(target=serve, args=(port, dict(fields), ready), daemon=True)
    process.start()
    try:
        assert ready.wait(30)
        yield
    finally:
        process.kill()
        process.join(10)


def test_structure_when_its_layout_changes_or_differs_between_servers_gives_no_wrong_number(tape, running):
    first, second = unused_port(), unused_port()
    server = settings(f"opc.tcp://127.0.0.1:{first}/plant", node("power", "Meter", select="Power"), keep_alive=5)
    with running(connector(server)):
        with served(first, POWER, PHASE):
            tape.until(lambda: tape.samples("power"), "the power as first laid out")
        with served(first, AGE, PHASE, POWER):
            tape.until(lambda: len(tape.samples("power")) > 1, "the power as it is laid out after an update")
            assert {sample.value for sample in tape.samples("power")} == {42.5}

            other = settings(
                f"opc.tcp://127.0.0.1:{second}/plant", node("other", "Meter", select="Power"), name="other"
            )
            with served(second, POWER, PHASE), running(connector(other)):
                tape.until(lambda: "laid out otherwise" in " ".join(d.reason for d in tape.devices), "it is refused")
    assert not [sample for sample in tape.samples("other") if sample.quality is not Quality.BAD]
    told = next(device for device in tape.devices if "laid out otherwise" in device.reason)
    assert told.device == "other"
    assert f"127.0.0.1:{first}" in told.reason
    assert "processes of their own" in told.reason
