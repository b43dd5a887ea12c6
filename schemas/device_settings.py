"""What is asked of a connectors process while it runs: other settings for one device."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from schemas.base import Identifier, Micros, Record, Text


class DeviceChange(enum.StrEnum):
    """``set``: run the device with these settings; ``remove``: do not run it; ``reset``: as the process' file says."""

    SET = "set"
    REMOVE = "remove"
    RESET = "reset"


class DeviceSection(enum.StrEnum):
    """The part of the settings file in which the device would stand."""

    MODBUS = "modbus"
    OPCUA = "opcua"
    WEBSOCKET = "websocket"
    FIX = "fix"
    DROP_COPY = "drop_copy"
    MQTT = "mqtt.devices"
    SPARKPLUG = "sparkplug.devices"


class DeviceSettings(Record, frozen=True, kw_only=True):
    """A device as it is wanted of one connectors process; the newest holds, over what the process' file says.

    ``process``: the name under which the process follows this topic. ``settings``: what would stand in ``section`` of
    the file, as TOML text or as one JSON object; secrets by name of an environment variable or file only, as there.
    ``actor``: who asked for it.
    """

    process: Identifier
    device: Identifier
    change: DeviceChange
    section: DeviceSection | None = None
    settings: Annotated[str, Meta(max_length=500_000)] = ""
    actor: Text = ""
    event_time: Micros
    receive_time: Micros

    def __post_init__(self) -> None:
        """What is to be set is needed, and nothing else says what."""
        if (self.change is DeviceChange.SET) != (self.section is not None and bool(self.settings)):
            raise ValueError("section and settings belong to change = set, both of them, and to no other change")
