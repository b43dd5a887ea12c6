"""gridtape demo: start everything for real, show it working, say at the end whether all of it happened."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.live import Live

from connectors import simulated
from streams import control
from streams.commands.fleet import survey
from streams.commands.follow import Follower
from streams.commands.process import configure_logging, interruptible
from streams.commands.run import prepare
from streams.commands.watch import FRAMES, Board, Lines, draw
from streams.demo.children import Children
from streams.demo.tally import Tally
from streams.local import LocalServices
from streams.local.service import free_port
from streams.settings import Settings


def run(settings: Settings, *, duration: int | None, plain: bool, fresh: bool, console: Console) -> int:
    """Run for ``duration`` seconds or until interrupted; return the exit status: 0 when everything was shown.

    Raises ServiceError when a service or process fails, Fatal when the cluster's topics are not as they must be.
    """
    folder = settings.data_dir.expanduser() / "demo"
    if fresh and folder.exists():
        shutil.rmtree(folder)
    configure_logging(logging.WARNING)
    began = time.monotonic()
    with interruptible() as stop, LocalServices(folder) as services, Children(folder / "logs") as children:
        console.print(f"Starting. Data and logs are under [bold]{folder}[/bold].")
        services.start(redis=settings.redis is None, mqtt=settings.mqtt is None)
        here = services.addresses
        settings = settings.model_copy(
            update={"redis": settings.redis or here.redis, "mqtt": settings.mqtt or here.mqtt}
        )
        broker = here.mqtt_broker or "your own"
        console.print(f"Redis {settings.redis}   MQTT {settings.mqtt} ({broker})   {_since(began)}")
        ports = _start_devices(settings, children)  # they do not need Kafka, and are up when the connectors come
        if settings.kafka is None:
            settings = settings.model_copy(update={"kafka": services.start(kafka=True).addresses.kafka})
        console.print(f"Kafka {settings.kafka}   {_since(began)}")
        prepare(settings)
        cluster = settings.cluster()
        follower = Follower(cluster)
        scenario = resources.files("streams.demo") / "scenario.toml"
        with resources.as_file(scenario) as path:
            control.publish(cluster, control.read_file(path, time.time_ns() // 1000), settings.partitions)
        _start_pipeline(settings, children, folder, broker, ports)
        console.print(f"Devices, connectors, processors and sinks are starting   {_since(began)}")
        try:
            tally, devices = _show(follower, children, services, stop, began, duration, plain, console)
        finally:
            children.stop()
            follower.close()
    return _summary(tally, devices, console, folder)


def _since(began: float) -> str:
    return f"[dim]{time.monotonic() - began:.1f} s[/dim]"


def _start_devices(settings: Settings, children: Children) -> dict[str, int]:
    ports = {"modbus_port": free_port(), "opcua_port": free_port()}
    arguments = [f"--{name.replace('_', '-')}={port}" for name, port in ports.items()]
    children.start("devices", ["streams.demo.plants", f"--mqtt={settings.mqtt}", *arguments])
    return ports


def _start_pipeline(settings: Settings, children: Children, folder: Path, broker: str, ports: dict[str, int]) -> None:
    """The three kinds of gridtape process, in the order in which records flow."""
    host, _, port = (settings.mqtt or "").rpartition(":")
    config = folder / "connectors.toml"
    sections = [
        simulated.settings("mqtt", host=host, port=port, version="3.1.1" if broker == "amqtt" else "5"),
        simulated.settings("modbus", port=ports["modbus_port"]),
        simulated.settings("opcua", port=ports["opcua_port"]),
        (resources.files("streams.demo") / "market.toml").read_text(),
    ]
    config.write_text("\n".join(sections))
    children.environment |= {
        "GRIDTAPE_KAFKA": settings.kafka or "",
        "GRIDTAPE_REDIS": settings.redis or "",
        "GRIDTAPE_CONNECTORS_FILE": str(config),
    }
    for kind in ("processors", "connectors", "sinks"):
        children.start(kind, ["streams.cli", "run", kind])


def _show(
    follower: Follower,
    children: Children,
    services: LocalServices,
    stop: threading.Event,
    began: float,
    duration: int | None,
    plain: bool,
    console: Console,
) -> tuple[Tally, list[str]]:
    """Show it; return what has happened, and how the devices stood at the end, in words."""
    board, tally = Board(), Tally(time.time_ns() // 1000)
    lines = Lines(board)
    shown = time.monotonic()
    told_first = False
    live = None if plain else Live(console=console, screen=True, auto_refresh=False)
    if live is not None:
        live.start()
    try:
        while not stop.is_set() and (duration is None or time.monotonic() - shown < duration):
            for topic, key, record, source in follower.during(1.0 if plain else 1 / FRAMES, stop):
                board.take(topic, record)
                tally.take(topic, key, record, source)
            children.check()
            services.check()
            if live is not None:
                live.update(draw(board, time.time_ns() // 1000, (console.width, console.height)), refresh=True)
                continue
            for line in lines.now(time.time_ns() // 1000):
                console.print(
                    f"{time.monotonic() - shown:4.0f} s  {line}", soft_wrap=True, highlight=False, markup=False
                )
            if tally.first_alert and not told_first:
                told_first = True
                first = f"first alert {time.monotonic() - began:.1f} s after the start: {tally.first_alert}"
                console.print(first, soft_wrap=True, highlight=False)
    finally:
        if live is not None:
            live.stop()
    now = time.time_ns() // 1000
    fleet = survey(board, now)
    return tally, [f"devices: {fleet.tally}", *(f"  {one.told(now)}" for one in fleet.troubles)]


def _summary(tally: Tally, devices: list[str], console: Console, folder: Path) -> int:
    console.print("\nWhat was shown:")
    for line in [*tally.lines(), *devices]:
        console.print(f"  {line}", highlight=False, markup=False)
    if tally.last_alert:
        console.print(
            f"Ask why: `gridtape kafka --data-dir {folder}` starts the broker again and prints its address; then "
            f"`gridtape why {tally.last_alert} --kafka ADDRESS`.",
            soft_wrap=True,
            highlight=False,
        )
    if tally.missing:
        console.print(f"[red]Not everything happened[/red]; the logs are in {folder / 'logs'}.")
        return 1
    console.print("[green]All of it happened.[/green]")
    return 0
