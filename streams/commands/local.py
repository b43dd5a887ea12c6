"""gridtape kafka: the local broker alone, in the foreground."""

from __future__ import annotations

from rich.console import Console

from streams.commands.process import interruptible
from streams.local.kafka import Kafka
from streams.settings import Settings


def kafka(settings: Settings, port: int | None, console: Console) -> None:
    """Serve until interrupted. Raises ServiceError when it cannot start or ends by itself."""
    with interruptible() as stop, Kafka(settings.data_dir / "kafka", port) as broker:
        console.print(f"Apache Kafka listens on [bold]{broker.address}[/bold]; log: {broker.log_path}")
        console.print(f"Use it with: export GRIDTAPE_KAFKA={broker.address}   Ctrl-C ends it.")
        while not stop.wait(0.5):
            broker.check()
