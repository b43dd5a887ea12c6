"""FIX 4.4 market data into Kafka: each session a task of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from connectors.connector import Backoff
from connectors.market.common import profile
from connectors.market.contract.spec import Scope
from connectors.market.desk import Desk
from connectors.market.fix.config import FixConfig
from connectors.market.fix.feed import QuoteHandler
from connectors.market.fix.link import Link
from connectors.market.fix.store import Store, StoreError
from connectors.outlet import Outlet
from connectors.repeats import Repeats
from schemas.devices import DeviceState

log = structlog.get_logger(__name__)


class FixConnector:
    """All sessions of ``[[fix]]``."""

    name = "fix"

    def __init__(self, config: list[FixConfig], outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet

    def run(self, stop: threading.Event) -> None:
        """Keep every session up until ``stop``."""
        asyncio.run(together([(one.name, partial(self._session, one, stop)) for one in self._config], stop))

    async def _session(self, config: FixConfig, stop: threading.Event) -> None:
        names = [one.instrument for one in config.instruments]
        specs = [one.spec(config.venue, config.clock_tolerance) for one in config.instruments]
        desk = Desk(
            self.name, profile(config.name, "fix-4.4", config, names), specs, self._outlet, scope=Scope.INSTRUMENT
        )
        try:
            store = Store(config.store, f"{config.sender}>{config.target}")
        except StoreError as error:
            desk.disconnected(str(error))
            desk.check()
            raise
        try:
            await Link(config, store, QuoteHandler(config, desk), reset=config.reset).run(stop)
        finally:
            store.close()
            desk.disconnected("the connector stops")
            desk.life.state(DeviceState.DOWN, "the connector stops")
            desk.check()


async def together(sessions: list[tuple[str, Callable[[], Awaitable[None]]]], stop: threading.Event) -> None:
    """Run each in a task of its own; one that fails is begun anew, with growing waits, and holds up no other."""
    await asyncio.gather(*(_guarded(name, session, stop) for name, session in sessions))


async def _guarded(name: str, session: Callable[[], Awaitable[None]], stop: threading.Event) -> None:
    backoff, repeats = Backoff(stop, first=1.0), Repeats()
    while not stop.is_set():
        try:
            await session()
        except Exception as error:
            # The outermost edge of one session: whatever it is must not end the others, and must be seen.
            again = repeats.again(type(error).__name__, str(error))
            if again is not None and isinstance(error, StoreError):
                log.error("a market session cannot begin and is tried again", session=name, reason=str(error), **again)  # noqa: TRY400
            elif again is not None:
                log.exception("a market session failed unexpectedly and is begun anew", session=name, **again)
            left = backoff.next_delay()
            while left > 0 and not stop.is_set():
                await asyncio.sleep(min(left, 0.2))
                left -= 0.2
