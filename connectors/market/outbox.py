"""Records of a market connector on their way to the outlet: in order, and with a bound that stops the reading."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from connectors.outlet import Done, Full, Outlet
from schemas import topics
from schemas.base import Record
from schemas.devices import Device
from schemas.topics import Topic


class Outbox:
    """Hands over at once; what finds no room waits here, and :meth:`room` says when to read on. One thread."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._waiting: deque[Callable[[], None]] = deque()
        self._statuses: dict[str, Callable[[], None]] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing waits here that was read."""
        return not self._waiting

    def put(self, topic: Topic[Any], key: str, record: Record, identity: str, done: Done | None = None) -> None:
        """Publish, or wait for room."""
        if not self._waiting:
            try:
                self._outlet.publish(topic, key, record, event_id=identity, done=done)
            except Full:
                pass
            else:
                return
        self._waiting.append(partial(self._outlet.publish, topic, key, record, event_id=identity, done=done))

    def status(self, record: Device, identity: str) -> None:
        """Of each device the newest status is enough: that is all that its topic keeps."""
        self._statuses[record.device] = partial(
            self._outlet.publish, topics.devices, record.device, record, event_id=identity
        )
        self.drain()

    def letter(self, source: str, reason: str, raw: bytes, receive_time: int, done: Done | None = None) -> None:
        """Put aside what could not become a record."""
        letter = partial(
            self._outlet.dead_letter, source=source, reason=reason, raw=raw, receive_time=receive_time, done=done
        )
        self._waiting.append(letter)
        self.drain()

    def drain(self) -> None:
        """Hand over what waits, as far as there is room."""
        try:
            while self._waiting:
                self._waiting[0]()
                self._waiting.popleft()
            while self._statuses:
                device, publish = next(iter(self._statuses.items()))
                publish()
                del self._statuses[device]
        except Full:
            return

    async def room(self, over: Callable[[], bool]) -> None:
        """Until nothing waits any more, or it is ``over``. Whoever reads a source awaits this before it reads on."""
        self.drain()
        while self._waiting and not over():
            await asyncio.sleep(0.02)
            self.drain()
