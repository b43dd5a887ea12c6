"""Polls one device at its own pace, and keeps one bad register from hiding the others.

What can go wrong, from small to large: a register is refused (the request is split until the bad one stands alone, and
only that point is bad); a request gets no answer while others do (its points are bad, and it is asked again later and
last, so that its timeouts do not slow the rest); the device does not answer at all (a gap, and patience).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial

from prometheus_client import Counter, Histogram

from connectors import clock
from connectors.connector import Backoff
from connectors.device import DeviceFeed
from connectors.metrics import State
from connectors.modbus.config import ModbusDevice, Register
from connectors.modbus.decoder import Reading, bad, decode
from connectors.modbus.plan import Request, plan
from connectors.modbus.transport import Link, Lost, Refused, Unreachable
from connectors.outlet import Raw

LATENESS = Histogram("gridtape_modbus_poll_lateness_seconds", "How long after its due time a poll began.", ["device"])
MISSED = Counter(
    "gridtape_modbus_polls_missed_total", "Polls left out because the one before took too long.", ["device"]
)
_ENOUGH = 3  # requests without answer, one after the other, that mean the device and not the request


class Poller:
    """Reads every register of ``device`` once per poll interval, for ever; ``run`` ends by cancellation only."""

    def __init__(self, device: ModbusDevice, feed: DeviceFeed, stop: threading.Event) -> None:
        self._device = device
        self._feed = feed
        self._link = Link(device)
        self._backoff = Backoff(stop, first=0.5, ceiling=device.backoff_ceiling / 1e6)
        self._plan = plan(device)
        # Requests that got no answer, with the loop time from which they may be asked again and the wait after that.
        self._suspects: dict[Request, tuple[float, float]] = {}

    async def run(self) -> None:
        """Poll, and after a loss wait and begin again."""
        for register in self._device.registers:
            self._feed.watch(register.point, register.silence)
        self._feed.state(State.CONNECTING)
        try:
            while True:
                try:
                    await self._keep_pace()
                except Lost as loss:
                    self._link.close()
                    self._feed.disconnected(str(loss))
                    self._feed.state(State.DOWN, str(loss))
                await asyncio.sleep(self._backoff.next_delay())
                # The device may be another one by now: what was learned about its registers is learned anew.
                self._plan = plan(self._device)
                self._suspects = {request: (0.0, wait) for request, (_, wait) in self._suspects.items()}
        finally:
            self._link.close()

    async def _keep_pace(self) -> None:
        """Poll at fixed times, start + n x interval: a slow poll leaves polls out and does not shift the others."""
        loop = asyncio.get_running_loop()
        interval = self._device.poll_interval / 1e6
        due = loop.time()
        while True:
            LATENESS.labels(self._device.name).observe(max(0.0, loop.time() - due))
            if self._feed.full:
                # What is read now could be kept nowhere: the device is left alone, and what is missed is counted.
                self._feed.left_out(register.point for register in self._device.registers)
            else:
                await self._poll()
            self._backoff.reset()
            self._feed.check_silence()
            due += interval
            if (behind := loop.time() - due) > 0:
                missed = int(behind / interval) + 1
                MISSED.labels(self._device.name).inc(missed)
                due += missed * interval
            await asyncio.sleep(due - loop.time())

    async def _poll(self) -> None:
        """Ask each request once. Raises Lost when it is the device that does not answer."""
        now = asyncio.get_running_loop().time()
        regular = [request for request in self._plan if request not in self._suspects]
        again = [request for request in self._plan if request in self._suspects and self._suspects[request][0] <= now]
        waiting = deque(regular + again)
        unanswered: list[tuple[Request, str]] = []
        in_a_row = answered = 0
        problem = ""
        while waiting:
            request = waiting.popleft()
            try:
                self._hand_over(request, await self._link.read(request))
            except Refused as refusal:
                pieces = self._split(request) if refusal.may_be_one_register else ()
                waiting.extendleft(reversed(pieces))
                if not pieces:
                    problem = str(refusal)
                    self._hand_over_bad(request, problem)
            except Unreachable:
                raise
            except Lost as loss:
                suspected = request in self._suspects
                unanswered.append((request, str(loss)))
                self._suspect(request)
                in_a_row += 1
                if (in_a_row >= _ENOUGH and not (suspected and answered)) or not (waiting or answered):
                    raise
                continue
            self._suspects.pop(request, None)
            answered += 1
            in_a_row = 0
        for request, problem in unanswered:
            self._hand_over_bad(request, problem)
        if problem or self._suspects:
            self._feed.state(State.DEGRADED, problem)
        else:
            self._feed.state(State.LIVE)

    def _suspect(self, request: Request) -> None:
        _due, wait = self._suspects.get(request, (0.0, self._device.poll_interval / 1e6))
        wait = min(wait * 2, self._device.backoff_ceiling / 1e6)
        self._suspects[request] = (asyncio.get_running_loop().time() + wait, wait)

    def _split(self, request: Request) -> tuple[Request, ...]:
        """Two smaller requests instead of one, also in the polls to come; empty when it holds one point."""
        if pieces := request.halves():
            place = self._plan.index(request)
            self._plan[place : place + 1] = pieces
        return pieces

    def _hand_over(self, request: Request, answer: list[int] | list[bool]) -> None:
        taken = clock.now()
        for register, part in request.slices():
            self._sample(register, decode(register, answer[part]), taken, partial(_raw, answer[part]))

    def _hand_over_bad(self, request: Request, reason: str) -> None:
        for register in request.registers:
            self._sample(register, bad(reason), clock.now())

    def _sample(self, register: Register, reading: Reading, taken: int, raw: Raw = bytes) -> None:
        self._feed.sample(
            register.point,
            reading.value,
            unit=register.arrives_in,
            quality=reading.quality,
            reason=reading.reason,
            event_time=taken,
            receive_time=taken,
            raw=raw,
        )


def _raw(answer: list[int] | list[bool]) -> bytes:
    """As on the wire: two bytes per register; a bit of a bit table as one byte."""
    return b"".join(bytes([part]) if isinstance(part, bool) else part.to_bytes(2, "big") for part in answer)
