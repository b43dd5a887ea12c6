"""Devices are exchanged one by one, and end when they are told to, even when a cancellation is lost."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass

import pytest

from connectors.device import DeviceFeed
from connectors.fleet import Fleet
from connectors.lifecycle import Profile
from connectors.outlet import Full, Waiting
from schemas import topics


@dataclass(frozen=True)
class Named:
    name: str
    version: int = 1


class Outlet:
    """Takes everything while ``open``."""

    def __init__(self) -> None:
        self.open = True
        self.states: list[tuple[str, str, str]] = []

    def publish(self, topic, key, record, *, event_id, done=None):
        if not self.open:
            raise Full("closed")
        if topic is topics.devices:
            self.states.append((record.device, record.state.value, record.reason))

    def waiting(self) -> Waiting:
        return Waiting()


class Yard:
    """A fleet in a loop of its own, whose devices only say when they begin and end."""

    def __init__(self, *devices: Named, deaf: bool = False) -> None:
        self.outlet = Outlet()
        self.begun: list[Named] = []
        self.ended: list[Named] = []
        self.fleet: Fleet[Named] = Fleet(self._make, devices)
        self.stop = threading.Event()
        self._deaf = deaf

    def _make(self, device: Named, stop: threading.Event):
        assert stop is self.stop

        async def run() -> None:
            self.begun.append(device)
            if self._deaf:
                with suppress(asyncio.CancelledError):  # as asyncio.wait_for of Python 3.11 does now and then
                    await asyncio.sleep(1000)
            try:
                await asyncio.sleep(1000)
            finally:
                self.ended.append(device)

        return DeviceFeed(self.outlet, "test", Profile(device.name, "test")), run

    async def live(self, *steps) -> None:
        serving = asyncio.create_task(self.fleet.serve(self.stop))
        for step, holds in steps:
            step()
            async with asyncio.timeout(10):
                while not holds():  # noqa: ASYNC110 - other code makes it true
                    await asyncio.sleep(0.005)
        self.stop.set()
        async with asyncio.timeout(10):
            await serving


def test_fleet_when_the_settings_change_begins_only_what_differs_anew():
    a, b, c = Named("a"), Named("b"), Named("c")
    yard = Yard(a, b)
    newer = Named("b", version=2)
    asyncio.run(
        yard.live(
            (lambda: None, lambda: len(yard.begun) == 2),
            (lambda: yard.fleet.change([a, newer, c]), lambda: len(yard.begun) == 4),
            (lambda: yard.fleet.change([newer, c]), lambda: len(yard.ended) == 2),
        )
    )
    assert (yard.begun[:2], set(yard.begun[2:])) == ([a, b], {newer, c})
    assert yard.ended[:2] == [b, a]
    assert ("b", "down", "its configuration has changed") in yard.outlet.states
    assert ("a", "down", "it is no longer configured") in yard.outlet.states


def test_fleet_when_a_removed_device_has_records_waiting_still_hands_them_over():
    yard = Yard(Named("a"))
    yard.outlet.open = False
    asyncio.run(
        yard.live(
            (lambda: None, lambda: yard.begun),
            (lambda: yard.fleet.change([]), lambda: yard.ended),
            (lambda: setattr(yard.outlet, "open", True), lambda: yard.outlet.states),
        )
    )
    assert yard.outlet.states[-1][:2] == ("a", "down")


@pytest.mark.timeout(30)
def test_fleet_when_a_cancellation_is_lost_ends_all_the_same():
    yard = Yard(Named("a"), Named("b"), deaf=True)
    asyncio.run(yard.live((lambda: None, lambda: len(yard.begun) == 2)))
    assert len(yard.ended) == 2
