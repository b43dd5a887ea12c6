"""Stands in for a recorded OPC UA server: the same responses in the same order, each to the request it belongs to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from asyncua import ua

from connectors.capture.frames import Frame
from connectors.capture.opcua.channel import Channel
from connectors.capture.opcua.messages import Malformed, Request, decoded
from connectors.capture.opcua.script import CLOSE, PUBLISH, Step, difference, is_probe, script

_PATIENCE_SECONDS = 10.0
_LEAST_ALIVE_SECONDS = 0.05
_LOOK_SECONDS = 0.2
_AGAIN = frozenset({"Read", "Browse", "BrowseNext", "TranslateBrowsePathsToNodeIds", "CreateMonitoredItems"})
"""What a connector asks again when its clock says so: what was refused, and what is new on the server."""
_RUNNING = 0


def perform(client: socket.socket, recorded: Sequence[Frame], ended: threading.Event, *, paced: bool) -> str | None:
    """Play one connection of a recording, until ``ended`` at most; what the connector did otherwise, in words."""
    return asyncio.run(_perform(client, recorded, ended, paced=paced))


async def _perform(
    client: socket.socket, recorded: Sequence[Frame], ended: threading.Event, *, paced: bool
) -> str | None:
    channel = await Channel.over(client)
    acts: list[asyncio.Task[None]] = []
    try:
        stage = _Stage(channel, recorded, paced=paced)
        acts += [asyncio.create_task(one) for one in (stage.listen(), stage.tell(), _until(ended))]
        done, _ = await asyncio.wait(acts, return_when=asyncio.FIRST_COMPLETED)
        for act in done:
            act.result()
    except Malformed as error:
        return f"this is no recording of OPC UA: {error}"
    finally:
        channel.close()
        for act in acts:
            act.cancel()
        await asyncio.gather(*acts, return_exceptions=True)
    return stage.outcome


async def _until(ended: threading.Event) -> None:
    while not ended.is_set():  # noqa: ASYNC110 - it is another thread that ends the play
        await asyncio.sleep(_LOOK_SECONDS)


class _Stage:
    """``outcome``: what the connector did otherwise; None when nothing."""

    def __init__(self, channel: Channel, recorded: Sequence[Frame], *, paced: bool) -> None:
        found = script(recorded)
        self.outcome: str | None = None
        self._channel = channel
        self._steps = found.steps
        self._unanswered = found.unanswered
        self._coming = [step for step in found.steps if step.then.service != PUBLISH]
        self._answered: list[Step] = []
        self._began, self._ends = recorded[0].at, recorded[-1].at
        self._paced = paced
        self._played = 0
        self._waiting: deque[Request] = deque()
        self._came = asyncio.Event()
        self._subscribed: ua.CreateSubscriptionResult | None = None
        self._told: bytes | None = None
        self._published_at = 0.0

    async def listen(self) -> None:
        """Take requests until the connector says something else than it did, or leaves. Raises Malformed."""
        with suppress(OSError):
            async for asked in self._channel.requests():
                if asked.service == CLOSE:
                    self._channel.respond(asked, ua.CloseSessionResponse())
                elif is_probe(asked):
                    value = ua.DataValue(ua.Variant(_RUNNING, ua.VariantType.Int32))
                    self._channel.respond(asked, ua.ReadResponse(Results=[value]))
                elif asked.service == PUBLISH:
                    self._waiting.append(asked)
                elif (why := self._take(asked)) is not None:
                    self.outcome = why
                    return
                self._came.set()
        if self._played < len(self._steps):
            then = self._steps[self._played].then
            self.outcome = (
                f"the connector left; {len(self._steps) - self._played} of {len(self._steps)} responses were still to "
                f"come, the next to {then.service}"
            )

    def _take(self, asked: Request) -> str | None:
        """Find the response to ``asked``; what else was recorded when there is none."""
        fitting = next((step for step in self._coming if step.fits(asked)), None)
        if fitting is not None:
            fitting.now = asked
            self._coming.remove(fitting)
            return None
        if any(one.service == asked.service and one.meant == asked.meant for one in self._unanswered):
            return None
        if asked.service in _AGAIN:
            last = next((step for step in reversed(self._answered) if step.fits(asked)), None)
            if last is not None:
                self._channel.answer(asked, last.answer)
                return None
        alike = next((step.then for step in self._coming if step.then.service == asked.service), None)
        if alike is not None:
            return difference(alike, asked)
        then = self._coming[0].then.service if self._coming else "nothing more"
        return f"{then} was recorded, and came {asked.service}"

    async def tell(self) -> None:
        """Answer in the recorded order, and end when the connector has taken all of it."""
        loop = asyncio.get_running_loop()
        at, since = self._began, loop.time()
        for step in self._steps:
            asked = await self._asked(step)
            if self._paced:
                await asyncio.sleep((step.at - at) / 1e6 + since - loop.time())
            at, since = step.at, loop.time()
            self._played += 1
            self._remember(step)
            self._channel.answer(asked, step.answer)
        if self._paced:
            await asyncio.sleep((self._ends - at) / 1e6 + since - loop.time())
        if self._steps and self._steps[-1].then.service == PUBLISH:
            # It asks for the next message when it has taken this one.
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    while not self._waiting:
                        await self._wait()

    async def _asked(self, step: Step) -> Request:
        """The request that ``step`` answers. A connector that waits for its own clock meanwhile is kept alive."""
        while True:
            if step.then.service == PUBLISH and self._waiting:
                return self._waiting.popleft()
            if step.now is not None:
                return step.now
            try:
                async with asyncio.timeout_at(self._alive_until()):
                    await self._wait()
            except TimeoutError:
                self._keep_alive()

    async def _wait(self) -> None:
        self._came.clear()
        await self._came.wait()

    def _remember(self, step: Step) -> None:
        if step.then.service == PUBLISH:
            self._told = step.answer
            self._published_at = asyncio.get_running_loop().time()
            return
        self._answered.append(step)
        if step.then.service == "CreateSubscription":
            with suppress(Malformed):
                self._subscribed = decoded("CreateSubscriptionResponse", step.answer).Parameters
                self._published_at = asyncio.get_running_loop().time()

    def _alive_until(self) -> float | None:
        """When the server promised to have spoken again."""
        given = self._subscribed
        if given is None:
            return None
        promised = float(given.RevisedPublishingInterval) / 1e3 * int(given.RevisedMaxKeepAliveCount)
        return self._published_at + max(_LEAST_ALIVE_SECONDS, promised)

    def _keep_alive(self) -> None:
        """Say that there is nothing new, and which message will be next (OPC 10000-4, section 5.14.1.1)."""
        self._published_at = asyncio.get_running_loop().time()
        if self._subscribed is None or not self._waiting:
            return
        number = 1
        if self._told is not None:
            with suppress(Malformed):
                last = decoded("PublishResponse", self._told).Parameters.NotificationMessage
                number = last.SequenceNumber + bool(last.NotificationData)
        message = ua.NotificationMessage(SequenceNumber=number)
        result = ua.PublishResult(self._subscribed.SubscriptionId, NotificationMessage=message)
        self._channel.respond(self._waiting.popleft(), ua.PublishResponse(Parameters=result))
