"""The demonstration's field devices in one process: battery and pipeline, gas plant, wind farm. None is real."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable

from connectors.modbus import simulator as modbus
from connectors.mqtt import simulator as mqtt
from connectors.opcua import simulator as opcua
from streams.commands.process import configure_logging, interruptible

SEED = 7


def serve(mqtt_address: str, modbus_port: int, opcua_port: int, stop: threading.Event) -> None:
    """Run all devices until ``stop``; the first that fails stops the others and is raised.

    The wind farm falls below its forecast 7 s after the start and then every 20 s, for 8 s; the gas plant loses half
    its output every 20 s for 6 s.
    """
    host, _, port = mqtt_address.rpartition(":")
    devices: dict[str, Callable[[], None]] = {
        "battery-1": lambda: mqtt.simulate(host, int(port), stop, seed=SEED),
        "gas-1": lambda: modbus.simulate("127.0.0.1", modbus_port, stop, seed=SEED, dip_every=20, dip_for=6),
        "wind-1": lambda: opcua.simulate(
            f"opc.tcp://127.0.0.1:{opcua_port}/gridtape", stop, seed=SEED, first_dip=7, dip_every=20, dip_for=8
        ),
    }
    failures: list[Exception] = []

    def body(device: Callable[[], None]) -> None:
        try:
            device()
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: raised below
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=body, args=(device,), name=name) for name, device in devices.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def main() -> None:
    """Entry point of the devices' process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mqtt", required=True, help="host:port of the MQTT broker")
    parser.add_argument("--modbus-port", type=int, required=True)
    parser.add_argument("--opcua-port", type=int, required=True)
    given = parser.parse_args()
    configure_logging()
    with interruptible() as stop:
        serve(given.mqtt, given.modbus_port, given.opcua_port, stop)


if __name__ == "__main__":
    main()
