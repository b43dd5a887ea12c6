"""The settings that read a simulated plant: ``simulator.toml`` beside each simulator, with its address filled in."""

from __future__ import annotations

import string
from importlib import resources


def settings(protocol: str, **where: object) -> str:
    """The sections for the simulator in ``connectors/PROTOCOL``.

    ``where``: ``port`` of modbus and opcua on this machine; ``host``, ``port`` and ``version`` ("5" or "3.1.1") of the
    broker for mqtt and sparkplug. Raises KeyError when one is missing.
    """
    text = (resources.files(f"connectors.{protocol}") / "simulator.toml").read_text(encoding="utf-8")
    return string.Template(text).substitute(where)
