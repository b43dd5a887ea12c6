"""An MQTT broker: Mosquitto where it is installed, otherwise amqtt.

amqtt speaks MQTT 3.1.1 only and does not deliver again to a persistent session: good for a demo, not for proof.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from streams.local.service import HOST, Service, exchange

CONNECT = bytes.fromhex("100f00044d515454040200050003677431")
"""MQTT 3.1.1 CONNECT, clean session, keep alive 5 s, client id "gt1"."""
CONNACK = bytes.fromhex("20020000")


def find_mosquitto() -> str | None:
    """Path of the Mosquitto broker, or None. Systems keep it in folders that are often not on a user's PATH."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"]
    return shutil.which("mosquitto", path=os.pathsep.join(folders))


class Mosquitto(Service):
    """Eclipse Mosquitto: MQTT 5 and 3.1.1, sessions and messages kept on disk. No password, loopback only."""

    name = "mosquitto"
    title = "Mosquitto"

    def __init__(self, folder: Path, port: int | None = None, *, binary: str | None = None) -> None:
        super().__init__(folder, port)
        self._binary = binary or find_mosquitto() or "mosquitto"

    def configure(self) -> None:
        """Write mosquitto.conf."""
        (self.folder / "mosquitto.conf").write_text(
            f"listener {self.port} {HOST}\n"
            "allow_anonymous true\n"
            "persistence true\n"
            f"persistence_location {self.data}/\n"
            "autosave_interval 10\n"
            "max_queued_messages 0\n"  # a consumer that is away loses nothing; the demo is small
            "log_dest stdout\n"
            "log_timestamp_format %Y-%m-%dT%H:%M:%S\n"
            + ("user root\n" if os.geteuid() == 0 else "")  # else it would drop to a user without access here
        )

    def command(self) -> list[str]:
        """The broker's command line."""
        return [self._binary, "-c", str(self.folder / "mosquitto.conf")]

    def answers(self) -> bool:
        """CONNECT gives CONNACK."""
        return exchange(self.port, CONNECT, 4) == CONNACK


class Amqtt(Service):
    """The broker of the wheel amqtt: MQTT 3.1.1, in memory. No password, loopback only."""

    name = "amqtt"
    title = "amqtt"

    def configure(self) -> None:
        """Write amqtt.yaml."""
        (self.folder / "amqtt.yaml").write_text(
            "listeners:\n"
            "  default:\n"
            "    type: tcp\n"
            f"    bind: {HOST}:{self.port}\n"
            "plugins:\n"
            "  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
            "    allow_anonymous: true\n"
        )

    def command(self) -> list[str]:
        """The broker's command line."""
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(self.folder / "amqtt.yaml")]

    def answers(self) -> bool:
        """CONNECT gives CONNACK."""
        return exchange(self.port, CONNECT, 4) == CONNACK


Mqtt = Mosquitto | Amqtt


def mqtt(folder: Path, port: int | None = None) -> Mqtt:
    """The best broker that this machine has; its ``title`` tells which. ``folder`` is the parent of its own."""
    if find_mosquitto():
        return Mosquitto(folder / Mosquitto.name, port)
    return Amqtt(folder / Amqtt.name, port)
