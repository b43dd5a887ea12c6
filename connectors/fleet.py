"""The devices of one connector, each in a task of its own, and how they are exchanged while the others go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from connectors.connector import Backoff
from connectors.device import DeviceFeed
from connectors.repeats import Repeats
from schemas.devices import REMOVED, DeviceState

log = structlog.get_logger(__name__)
_ROUND_SECONDS = 0.05
_CANCEL_SECONDS = 0.2


class _Named(Protocol):
    @property
    def name(self) -> str: ...


D = TypeVar("D", bound=_Named)
Run = Callable[[], Awaitable[None]]


class Fleet(Generic[D]):
    """Runs what ``make`` makes of each device's settings: its feed, and the coroutine that reads it for ever.

    One that fails is begun anew with growing waits; one that hangs holds up nobody.
    """

    def __init__(self, make: Callable[[D, threading.Event], tuple[DeviceFeed, Run]], devices: Sequence[D]) -> None:
        self._make = make
        self._wanted = list(devices)
        self._running: dict[str, tuple[D, DeviceFeed, asyncio.Task[None]]] = {}
        self._leaving: list[DeviceFeed] = []

    def change(self, devices: Sequence[D]) -> None:
        """Run these devices from now on: only what differs is begun anew. May be called from any thread."""
        self._wanted = list(devices)

    async def serve(self, stop: threading.Event) -> None:
        """Run until ``stop`` is set, handing over meanwhile what waits."""
        try:
            while not stop.is_set():
                await self._exchange(stop)
                for feed in [*(feed for _, feed, _ in self._running.values()), *self._leaving]:
                    feed.drain()
                self._leaving = [feed for feed in self._leaving if not feed.idle]
                await asyncio.sleep(_ROUND_SECONDS)
        finally:
            await self._end(list(self._running), "the connector stops")

    async def _exchange(self, stop: threading.Event) -> None:
        wanted = {device.name: device for device in self._wanted}
        gone = [name for name in self._running if name not in wanted]
        changed = [name for name, (device, _, _) in self._running.items() if wanted.get(name, device) != device]
        await self._end(gone, REMOVED)
        await self._end(changed, "its configuration has changed")
        for name, device in wanted.items():
            if name not in self._running:
                feed, run = self._make(device, stop)
                task = asyncio.create_task(_guarded(feed, run, stop), name=name)
                self._running[name] = (device, feed, task)

    async def _end(self, names: list[str], why: str) -> None:
        ending = [self._running.pop(name) for name in names]
        tasks = {task for _, _, task in ending}
        while tasks:
            # More than once: asyncio.wait_for of Python 3.11 loses a cancellation that comes with its result.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
        for _, feed, _ in ending:
            feed.state(DeviceState.DOWN, why)
            feed.drain()
            self._leaving.append(feed)


async def _guarded(feed: DeviceFeed, run: Run, stop: threading.Event) -> None:
    backoff, repeats = Backoff(stop, first=1.0), Repeats()
    while True:
        try:
            await run()
        except Exception as error:
            # The outermost edge of one device: whatever it is must not end the others, and must be seen.
            if (again := repeats.again(type(error).__name__, str(error))) is not None:
                log.exception("reading a device failed unexpectedly and is begun anew", device=feed.device, **again)
        feed.disconnected("reading the device failed; see the log")
        feed.state(DeviceState.DOWN, "reading the device failed")
        await asyncio.sleep(backoff.next_delay())
