"""Polls one device at its own pace, and keeps one bad register from hiding the others.

What can go wrong, from small to large: a register is refused (the request is split until the bad one stands alone, and
only that point is bad); a request gets no answer while others do (its points are bad, and it is asked again later and
last, so that its timeouts do not slow the rest); the device does not answer at all (a gap, and patience).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from zlib import crc32

from prometheus_client import Counter, Histogram

from connectors import clock
from connectors.connector import Backoff
from connectors.device import DeviceFeed
from connectors.metrics import State
from connectors.modbus.config import ModbusDevice
from connectors.modbus.connection import Connection, Lost, Unreachable
from connectors.modbus.decoder import Reading, bad, decode, exponent
from connectors.modbus.messages import Refused, wire
from connectors.modbus.plan import Request, plan
from connectors.modbus.profile import profile
from connectors.modbus.registers import Register, ScaleFactor
from connectors.modbus.sunspec.discovery import discover
from connectors.modbus.transport import Link

LATENESS = Histogram("gridtape_modbus_poll_lateness_seconds", "How long after its due time a poll began.", ["device"])
MISSED = Counter(
    "gridtape_modbus_polls_missed_total", "Polls left out because the one before took too long.", ["device"]
)
_ENOUGH = 3  # requests without answer, one after the other, that mean the device and not the request


class _Renewed(Unreachable):
    """The connection of before is gone."""


class Poller:
    """Reads every register of ``device`` once per poll interval, for ever; ``run`` ends by cancellation only."""

    def __init__(self, device: ModbusDevice, connection: Connection, feed: DeviceFeed, stop: threading.Event) -> None:
        self._device = device
        self._feed = feed
        self._link = Link(device, connection)
        self._backoff = Backoff(stop, first=0.5, ceiling=device.backoff_ceiling / 1e6)
        self._registers: Sequence[Register] = device.registers
        # Points that SunSpec leaves to the device: none is recorded before it has had a value for the first time.
        self._dormant: frozenset[str] = frozenset()
        self._awake: set[str] = set()
        self._connection = 0  # the one on which the device told its registers
        self._plan = plan(device, self._registers)
        self._factors: dict[ScaleFactor, int | str] = {}
        self._later: list[tuple[Register, Sequence[int], int]] = []
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
                    # The device may be another one by now: what was learned of its registers is learned anew.
                    await self._learn()
                    await self._keep_pace()
                except Lost as loss:
                    self._feed.disconnected(str(loss))
                    self._feed.state(State.DOWN, str(loss))
                await asyncio.sleep(self._backoff.next_delay())
                self._suspects = {request: (0.0, wait) for request, (_, wait) in self._suspects.items()}
        finally:
            self._link.leave()

    async def _learn(self) -> None:
        """What is to be read. Raises Lost."""
        if self._device.sunspec is not None:
            found, self._connection = await discover(self._link, self._device, self._device.sunspec)
            configured = {register.point for register in self._device.registers}
            told = [register for register in found.registers if register.point not in configured]
            self._registers = [*self._device.registers, *told]
            self._dormant = found.optional - configured
            for register in told:
                if register.point not in self._dormant:
                    self._feed.watch(register.point, register.silence)
            measured = {register.point: register for register in self._registers}
            self._feed.describe(profile(self._device, self._registers, found.nameplate), measured)
        self._plan = plan(self._device, self._registers)

    async def _read(self, request: Request) -> list[int] | list[bool]:
        """As the link. Raises Lost also when what answers may be another device than the one that told its map."""
        answer = await self._link.read(request)
        if self._device.sunspec is not None and self._link.connections != self._connection:
            raise _Renewed(f"the connection to {self._device.name} was made anew: what stands there is asked again")
        return answer

    async def _keep_pace(self) -> None:
        """Poll at once, and then at fixed times: a slow poll leaves polls out and does not shift the others.

        Each device has its own place within the interval, so that hundreds of them are not asked at the same instant.
        """
        loop = asyncio.get_running_loop()
        interval = self._device.poll_interval / 1e6
        due = loop.time()
        step = interval * (0.5 + crc32(self._device.name.encode()) / 2**32)  # to the second poll
        while True:
            LATENESS.labels(self._device.name).observe(max(0.0, loop.time() - due))
            if self._feed.full:
                # What is read now could be kept nowhere: the device is left alone, and what is missed is counted.
                self._feed.left_out(r.point for r in self._registers if not self._asleep(r))
            else:
                if self._device.sunspec is not None and not self._link.connected:
                    await self._learn()
                await self._poll()
            self._backoff.reset()
            self._feed.check_silence()
            due += step
            step = interval
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
        self._factors.clear()
        self._later.clear()
        while waiting:
            request = waiting.popleft()
            try:
                self._hand_over(request, await self._read(request))
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
        for register, words, taken in self._later:
            self._hand_over_scaled(register, words, taken)
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
            place = next(place for place, each in enumerate(self._plan) if each is request)
            self._plan[place : place + 1] = pieces
        return pieces

    def _hand_over(self, request: Request, answer: list[int] | list[bool]) -> None:
        taken = clock.now()
        for factor in request.factors:
            self._factors[factor] = exponent(answer[request.place(factor)])
        for register in request.registers:
            words = answer[request.place(register)]
            if register.factor is None:
                self._sample(register, decode(register, words), taken, words)
            elif register.factor in request.factors:
                self._hand_over_scaled(register, words, taken)
            else:
                self._later.append((register, words, taken))

    def _hand_over_scaled(self, register: Register, words: Sequence[int], taken: int) -> None:
        """A value whose scale factor has been read by now, if it could be."""
        power = self._factors.get(register.factor, "it got no answer") if register.factor else 0
        if isinstance(power, int):
            reading = decode(register, words, power)
        else:
            reading = bad(f"no scale factor from {register.factor}: {power}")
        self._sample(register, reading, taken, words)

    def _hand_over_bad(self, request: Request, reason: str) -> None:
        self._factors.update(dict.fromkeys(request.factors, reason))
        for register in request.registers:
            self._sample(register, bad(reason), clock.now())

    def _asleep(self, register: Register) -> bool:
        return register.point in self._dormant and register.point not in self._awake

    def _sample(self, register: Register, reading: Reading, taken: int, words: Sequence[int] = ()) -> None:
        if self._asleep(register):
            if reading.value is None:
                return
            self._awake.add(register.point)
            self._feed.watch(register.point, register.silence)
        self._feed.sample(
            register.point,
            reading.value,
            unit=register.arrives_in,
            quality=reading.quality,
            reason=reading.reason,
            event_time=taken,
            receive_time=taken,
            raw=partial(wire, words),
        )
