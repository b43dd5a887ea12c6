"""The OPC UA connector: one task per server, a new session whenever the old one ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import partial

from asyncua.ua.uaerrors import UaError

from connectors.connector import Backoff
from connectors.device import DeviceFeed
from connectors.fleet import Fleet, Run
from connectors.lifecycle import Profile
from connectors.metrics import State
from connectors.network import in_words
from connectors.opcua.bounds import CutOff
from connectors.opcua.certificates import Certificates
from connectors.opcua.config import OpcUaServer
from connectors.opcua.event_feed import EventFeed
from connectors.opcua.holes import Holes
from connectors.opcua.items import profile_for
from connectors.opcua.session import Session, SessionEnded
from connectors.outlet import Outlet


class OpcUaConnector:
    """Subscribes to all ``config`` servers until stopped."""

    name = "opcua"

    def __init__(self, config: Sequence[OpcUaServer], outlet: Outlet) -> None:
        self._outlet = outlet
        self._fleet = Fleet(self._make, config)

    def run(self, stop: threading.Event) -> None:
        """Subscribe until ``stop`` is set; ends within two seconds of it."""
        asyncio.run(self._fleet.serve(stop))

    def change(self, config: Sequence[OpcUaServer]) -> None:
        """Subscribe to these servers from now on; those that are as before are not disturbed."""
        self._fleet.change(config)

    def _make(self, server: OpcUaServer, stop: threading.Event) -> tuple[DeviceFeed, Run]:
        measured = {node.point: node for node in server.nodes}
        valued = bool(server.nodes or server.browse)
        feed = DeviceFeed(self._outlet, self.name, profile(server), measured=measured, valued=valued)
        return feed, partial(_keep_session, server, feed, stop)


async def _keep_session(server: OpcUaServer, feed: DeviceFeed, stop: threading.Event) -> None:
    backoff = Backoff(stop, first=0.5, ceiling=server.backoff_ceiling / 1e6)
    feed.state(State.CONNECTING)
    holes = None if server.backfill is None else Holes(server.backfill)
    told = EventFeed(feed) if server.events else None
    while True:
        session = Session(server, feed, holes, told)
        try:
            await session.run()
        except (SessionEnded, UaError, OSError, TimeoutError, ValueError) as error:
            why = explained(server, error)
            feed.disconnected(why)
            if told is not None:
                told.interrupted(why)
            feed.state(State.DOWN, why)
        if holes is not None:
            holes.interrupted()
        if session.live:
            backoff.reset()
        await asyncio.sleep(backoff.next_delay())


def profile(server: OpcUaServer) -> Profile:
    """What is told of a server beside its samples."""
    return profile_for(server, server.nodes)


def explained(server: OpcUaServer, error: Exception, certificates: Certificates | None = None) -> str:
    """What happened, where, and what to do when it is a matter of settings.

    ``certificates``: those of the attempt, which know why the server's was refused.
    """
    if certificates is not None and certificates.refusal:
        return certificates.refusal
    if isinstance(error, SessionEnded):
        return str(error)
    what = f"no session with {server.url}: "
    if isinstance(error, OSError | ValueError):
        return what + in_words(error)
    if isinstance(error, CutOff):
        return what + str(error)
    what += f"{type(error).__name__} {error}".rstrip()
    for hint, advice in (
        ("BadUserAccessDenied", "; check login: the user, and where its password or key stands"),
        ("BadIdentityTokenRejected", "; check login: the user, and where its password or key stands"),
        (
            "No matching endpoints",
            "; the server offers no endpoint with security.policy and security.mode: take others, or allow these there",
        ),
    ):
        if hint in what:
            return what + advice
    return what
