"""Sparkplug B topics (Sparkplug 3.0.0, section 4)."""

from __future__ import annotations

import enum
from typing import NamedTuple

NAMESPACE = "spBv1.0"


class Verb(enum.StrEnum):
    """What an edge node says of itself or of a device."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"


class Node(NamedTuple):
    """An edge node."""

    group: str
    node: str

    def __str__(self) -> str:
        return f"{self.group}/{self.node}"

    @property
    def filter(self) -> str:
        """All that concerns the node and its devices."""
        return f"{NAMESPACE}/{self.group}/+/{self.node}/#"

    @property
    def commands(self) -> str:
        """The topic of commands to the node."""
        return f"{NAMESPACE}/{self.group}/NCMD/{self.node}"


class Scope(NamedTuple):
    """A node (``device`` is empty) or one of its devices."""

    node: Node
    device: str = ""

    def __str__(self) -> str:
        return f"{self.node}/{self.device}" if self.device else str(self.node)


def state_topic(host_id: str) -> str:
    """Where a host application says whether it is there."""
    return f"{NAMESPACE}/STATE/{host_id}"


def parse(topic: str) -> tuple[Verb, Scope] | None:
    """What a topic addresses; None for commands and whatever else stands there."""
    parts = topic.split("/")
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE or parts[2] not in Verb.__members__:
        return None
    if (len(parts) == 5) != (parts[2][0] == "D"):
        return None
    return Verb(parts[2]), Scope(Node(parts[1], parts[3]), parts[4] if len(parts) == 5 else "")
