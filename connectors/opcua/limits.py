"""What a server takes in one request (OPC 10000-5, section 6.3.11)."""

from __future__ import annotations

from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaStatusCodeError


async def at_once(client: Client, limit: int, most: int) -> int:
    """How many the server takes, ``most`` at most. ``limit``: its node in namespace 0; many servers have none."""
    try:
        said = await client.get_node(f"i={limit}").read_value()
    except UaStatusCodeError:
        said = 0
    return min(said, most) if isinstance(said, int) and said > 0 else most
