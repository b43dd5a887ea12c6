"""gridtape plant: one simulated plant in the foreground, and a file with the settings that read it."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console

from connectors import simulated
from connectors.extras import libraries
from connectors.network import in_words
from streams.commands.errors import CommandError
from streams.local.mqtt import CONNACK, CONNECT, mqtt
from streams.local.service import HOST, exchange, is_free
from streams.settings import Settings

SEED = 7
MQTT_PORT = 1883
_PATIENCE_SECONDS = 3.0


class Publisher(Protocol):
    """A plant that publishes."""

    def __call__(self, host: str, port: int, stop: threading.Event, *, seed: int) -> None:
        """Publish to the broker until ``stop``."""


def gas(settings: Settings, port: int, stop: threading.Event, console: Console) -> None:
    """Serve the gas plant until ``stop``. Raises CommandError when the port cannot be used."""
    with libraries("modbus"):
        from connectors.modbus.simulator import simulate

    def ready() -> None:
        what = f"gas-1, a simulated gas plant, answers Modbus TCP on {HOST}:{port}, unit 1"
        _announce(settings, "gas", what, simulated.settings("modbus", port=port), console)

    with _port_in_words(port):
        simulate(HOST, port, stop, seed=SEED, ready=ready)


def wind(settings: Settings, port: int, stop: threading.Event, console: Console) -> None:
    """Serve the wind farm until ``stop``. Raises CommandError when the port cannot be used."""
    with libraries("opcua"):
        from connectors.opcua.simulator import simulate

    url = f"opc.tcp://{HOST}:{port}/gridtape"

    def ready() -> None:
        what = f"wind-1, a simulated wind farm, is an OPC UA server at {url}"
        _announce(settings, "wind", what, simulated.settings("opcua", port=port), console)

    with _port_in_words(port):
        simulate(url, stop, seed=SEED, ready=ready)


def battery(settings: Settings, stop: threading.Event, console: Console) -> None:
    """Publish a battery and a pipeline until ``stop``. Raises as :func:`_broker`."""
    with libraries("mqtt"):
        from connectors.mqtt.simulator import simulate

    what = "battery-1 and pipeline-1, simulated, publish over MQTT below plants/ and pipelines/"
    _publish(settings, "battery", "mqtt", what, simulate, stop, console)


def solar(settings: Settings, stop: threading.Event, console: Console) -> None:
    """Publish an inverter behind a Sparkplug edge node until ``stop``. Raises as :func:`_broker`."""
    with libraries("sparkplug"):
        from connectors.sparkplug.simulator import simulate

    what = "inverter-1 behind edge-1, simulated, publishes Sparkplug B below spBv1.0/plant/"
    _publish(settings, "solar", "sparkplug", what, simulate, stop, console)


def _publish(
    settings: Settings,
    name: str,
    protocol: str,
    what: str,
    simulate: Publisher,
    stop: threading.Event,
    console: Console,
) -> None:
    with _broker(settings) as (host, port):
        # What every broker speaks, the one from the wheel included.
        file = simulated.settings(protocol, host=host, port=port, version="3.1.1")
        _announce(settings, name, f"{what} to the broker {host}:{port}", file, console)
        simulate(host, port, stop, seed=SEED)


@contextmanager
def _broker(settings: Settings) -> Iterator[tuple[str, int]]:
    """The broker of the settings, else that on the usual port of this machine, which is started if nobody is there.

    Raises CommandError when it does not let us in, ServiceError when it cannot be started.
    """
    if settings.mqtt is None and is_free(MQTT_PORT):
        with mqtt(settings.data_dir / "plants", MQTT_PORT) as started:
            yield HOST, started.port
        return
    host, _, digits = (settings.mqtt or f"{HOST}:{MQTT_PORT}").rpartition(":")
    port = int(digits)
    try:
        said = exchange(port, CONNECT, len(CONNACK), _PATIENCE_SECONDS, host=host)
    except OSError as error:
        raise CommandError(f"cannot connect to the broker {host}:{port}: {in_words(error)}") from error
    if said != CONNACK:
        raise CommandError(
            f"{host}:{port} does not let a client in that has no password and no TLS; is it an MQTT broker? "
            "Choose another one with --broker host:port"
        )
    yield host, port


@contextmanager
def _port_in_words(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(
            f"port {port} of {HOST} cannot be used ({error.strerror or error}); choose another one with --port"
        ) from error


def _announce(settings: Settings, name: str, what: str, file: str, console: Console) -> None:
    """Write the settings that read the plant, and say what it is and how to look at it."""
    path = settings.data_dir.expanduser().absolute() / "plants" / f"{name}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; set GRIDTAPE_DATA_DIR") from error
    named = shlex.quote(str(path))
    console.print(f"{what}. Ctrl-C ends it.", highlight=False, markup=False, soft_wrap=True)
    console.print(f"Look at it: gridtape connect check {named}", highlight=False, markup=False, soft_wrap=True)
