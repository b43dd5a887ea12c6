"""The commands on the field alone, without the pipeline: try connectors out, set a point, run a simulated plant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streams.cli_options import Kafka, settings_from

connect_app = typer.Typer(no_args_is_help=True, help="Try connectors out on the real devices, without Kafka.")
modbus_app = typer.Typer(no_args_is_help=True, help="Write to Modbus devices; connectors never do.")
plant_app = typer.Typer(no_args_is_help=True, help="Run a simulated plant, to try connectors out without devices.")

Connectors = Annotated[Path, typer.Argument(help="TOML file with the connectors.")]
Seconds = Annotated[float, typer.Option("--for", min=0.5, help="Seconds to wait or record at most.")]


@connect_app.command("check")
def connect_check(file: Connectors, seconds: Seconds = 10.0) -> None:
    """Connect, read every point once, and show it with what is wrong. Exit status 1 if anything is."""
    from streams.commands import connect
    from streams.commands.process import interruptible, only_words

    only_words()
    with interruptible() as stop:
        raise typer.Exit(not connect.check(file, seconds, stop, connect.wide()))


@connect_app.command("discover")
def connect_discover(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS|FILE",
            help="mqtt://HOST:1883, mqtts://HOST:8883, opc.tcp://HOST:4840/PATH, modbus://HOST:502?unit=1. With a "
            "password or certificates: a settings file whose section says only how to connect.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Settings file to write, which reads what was found.")
    ] = None,
    seconds: Annotated[float, typer.Option("--for", min=0.5, help="Seconds to listen or to look at most.")] = 10.0,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="MQTT topics to listen for; default: #.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    rebirth: Annotated[
        bool, typer.Option("--rebirth", help="Ask Sparkplug nodes for their births: a command to each.")
    ] = False,
    allow_plaintext: Annotated[
        bool, typer.Option("--allow-plaintext", help="The network to this address is trusted: it is not encrypted.")
    ] = False,
) -> None:
    """Look what a broker, server or device offers, and write a settings file that reads it. Nothing is disturbed.

    Exit status 1 when nothing was found that can be read.
    """
    from streams.commands import discover
    from streams.commands.process import interruptible, only_words

    only_words()
    how = discover.How(seconds, filters or (), allow_plaintext, rebirth)
    with interruptible() as stop:
        raise typer.Exit(not discover.discover(target, how, out, stop, Console(), force=force))


@connect_app.command("capture")
def connect_capture(
    file: Connectors,
    out: Annotated[Path, typer.Option("--out", help="File to write; it is overwritten.")],
    seconds: Seconds = 10.0,
) -> None:
    """Record every byte between the connectors and their devices, with times."""
    from streams.commands import connect
    from streams.commands.process import interruptible, only_words

    only_words()
    with interruptible() as stop:
        raise typer.Exit(not connect.capture(file, out, seconds, stop, connect.wide()))


@connect_app.command("replay")
def connect_replay(
    file: Annotated[Path, typer.Argument(help="What `gridtape connect capture` wrote.")],
    paced: Annotated[bool, typer.Option("--paced", help="With the recorded pauses instead of at once.")] = False,
) -> None:
    """Play a recording to the connectors in place of the devices. Exit status 1 if anything differs or is wrong."""
    from streams.commands import connect
    from streams.commands.process import interruptible, only_words

    only_words()
    with interruptible() as stop:
        raise typer.Exit(not connect.replay(file, stop, connect.wide(), paced=paced))


@modbus_app.command("write", context_settings={"ignore_unknown_options": True})  # a value may begin with a minus
def modbus_write(
    file: Connectors,
    device: Annotated[str, typer.Argument(help="Its name in the file.")],
    point: Annotated[str, typer.Argument(help="A point that the file says is writable.")],
    value: Annotated[str, typer.Argument(help="In the point's unit; 1 or 0 for a switch.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the record on the topic writes.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it, instead of saying what it would change.")] = False,
    kafka: Kafka = None,
) -> None:
    """Set one point of a device, and look whether it holds. Without --yes it says what that means.

    Every attempt is recorded in Kafka before anything is sent. Exit status 1 unless the device holds the value.
    """
    from connectors.extras import libraries
    from streams.commands.connect import wide
    from streams.commands.process import only_words

    with libraries("modbus"):
        from streams.commands import write as command
    only_words()
    record = command.in_kafka(settings_from(kafka=kafka)) if yes else None
    raise typer.Exit(not command.write(file, device, point, value, reason, record, wide()))


Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on, of this machine only.")]
Broker = Annotated[
    str | None,
    typer.Option(
        "--broker",
        help="host:port of an MQTT broker; instead of GRIDTAPE_MQTT. Without either it is that on 127.0.0.1:1883, "
        "which is started if nobody is there.",
    ),
]
Lasting = Annotated[float | None, typer.Option("--for", min=0.5, help="End after this many seconds.")]


@contextmanager
def _until_the_end(seconds: float | None) -> Iterator[threading.Event]:
    """An event that a signal sets, or the end of the time."""
    from streams.commands.process import interruptible, only_words

    only_words()
    with interruptible() as stop:
        timer = None if seconds is None else threading.Timer(seconds, stop.set)
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            yield stop
        finally:
            if timer is not None:
                timer.cancel()


@plant_app.command("gas")
def plant_gas(port: Port = 1502, seconds: Lasting = None) -> None:
    """A gas plant, gas-1, that answers Modbus TCP."""
    from streams.commands import plant

    with _until_the_end(seconds) as stop:
        plant.gas(settings_from(), port, stop, Console())


@plant_app.command("wind")
def plant_wind(port: Port = 4840, seconds: Lasting = None) -> None:
    """A wind farm, wind-1, behind an OPC UA server."""
    from streams.commands import plant

    with _until_the_end(seconds) as stop:
        plant.wind(settings_from(), port, stop, Console())


@plant_app.command("battery")
def plant_battery(broker: Broker = None, seconds: Lasting = None) -> None:
    """A battery and a pipeline, battery-1 and pipeline-1, that publish over MQTT."""
    from streams.commands import plant

    with _until_the_end(seconds) as stop:
        plant.battery(settings_from(mqtt=broker), stop, Console())


@plant_app.command("solar")
def plant_solar(broker: Broker = None, seconds: Lasting = None) -> None:
    """An inverter, inverter-1, behind an edge node that speaks Sparkplug B."""
    from streams.commands import plant

    with _until_the_end(seconds) as stop:
        plant.solar(settings_from(mqtt=broker), stop, Console())
