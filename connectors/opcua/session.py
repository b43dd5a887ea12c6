"""One session with one server: subscribe, hand over what comes, and notice when it ends or loses something.

The notifications are taken in the publish callback itself and not through asyncua's queue or handlers, because that
queue drops the oldest without a word and the handlers may run in another order.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaError, UaStructParsingError

from connectors import clock
from connectors.device import DeviceFeed
from connectors.metrics import State
from connectors.opcua.certificates import certificates_of
from connectors.opcua.config import OpcUaServer
from connectors.opcua.event_feed import EventFeed
from connectors.opcua.event_items import EventItems
from connectors.opcua.history import Backfill
from connectors.opcua.holes import Holes
from connectors.opcua.items import Items
from connectors.opcua.nodes import Node
from connectors.opcua.security import client_for
from connectors.opcua.transport import why_cut_off
from connectors.opcua.types import load_types
from connectors.opcua.values import UnusableTime, in_words, raw_bytes, sampled, status_name

log = structlog.get_logger(__name__)

_MISSED_KEEP_ALIVES = 3
_TYPES_SECONDS = 60.0
_LAST_SEQUENCE = 2**32 - 1
_Publish = Callable[[list[ua.SubscriptionAcknowledgement]], Awaitable[ua.PublishResponse]]
_MOST_PUBLISHED = 10_000  # notifications of one message
_AT_ONCE = 1000  # of them, before another server has its turn
_MOST_REPUBLISHED = 100  # messages asked for again; beyond that a new subscription is quicker


class SessionEnded(Exception):
    """The session, its connection or its subscription is no more, or can no longer be trusted; says why."""


class Session:
    """A session lives from connecting until it ends; then a new one is made. ``live`` tells that it once delivered."""

    def __init__(
        self, server: OpcUaServer, feed: DeviceFeed, holes: Holes | None = None, told: EventFeed | None = None
    ) -> None:
        self.live = False
        self._server = server
        self._feed = feed
        self._ended = asyncio.Event()
        self._why = ""
        self._heard = asyncio.get_running_loop().time()
        self._keep_alive = server.keep_alive / 1e6
        self._subscription = 0
        self._next_message = 1
        self._items = Items(server, feed)
        self._events = None if told is None else EventItems(server, feed, told)
        self._holes = holes
        self._filling: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Connect and deliver until the session ends. Raises SessionEnded always, or what connecting raises."""
        self._certificates = certificates_of(self._server)
        client = await client_for(self._server, self._certificates)
        client.connection_lost_callback = partial(self._connection_lost, client)
        asked = client.uaclient.session
        asked.publish = partial(self._publish, asked.publish)  # type: ignore[method-assign]
        try:
            await self._connect(client)
            if any(one.select for one in (*self._server.nodes, *self._server.browse)):
                await load_types(client, _TYPES_SECONDS)
            await self._subscribe(client)
            await self._watch(client)
        except (UaError, OSError) as error:
            if why := why_cut_off(client):
                self._cut_off(why)
            if self._ended.is_set():  # whatever was asked meanwhile only learns that nobody is there any more
                raise SessionEnded(self._why) from error
            raise
        finally:
            await self._stop_filling()
            await close(client)

    async def _connect(self, client: Client) -> None:
        try:
            await client.connect()
        except UaError as error:
            if self._certificates is not None and self._certificates.refusal:
                raise SessionEnded(self._certificates.refusal) from error
            raise

    async def _subscribe(self, client: Client) -> None:
        interval = self._server.publishing_interval / 1e6
        keep_alive = max(1, round(self._keep_alive / interval))
        wanted = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=interval * 1e3,
            RequestedMaxKeepAliveCount=keep_alive,
            # OPC 10000-4, section 5.14.2.2: at least three times the keep-alive count.
            RequestedLifetimeCount=max(keep_alive * _MISSED_KEEP_ALIVES, math.ceil(60 / interval)),
            MaxNotificationsPerPublish=_MOST_PUBLISHED,
            PublishingEnabled=True,
        )
        given = await client.uaclient.session.create_subscription(wanted, self._published)
        self._client = client
        self._subscription = given.SubscriptionId
        self._keep_alive = max(self._keep_alive, given.RevisedMaxKeepAliveCount * given.RevisedPublishingInterval / 1e3)
        self._heard = asyncio.get_running_loop().time()
        for node in self._server.nodes:
            if node.silence is not None:
                self._feed.watch(node.point, node.silence)
        await self._items.create(client, self._subscription)
        if self._events is not None:
            await self._events.create(client, self._subscription, given.RevisedPublishingInterval / 1e3)
        if self.live:  # the first data came before the last of the nodes was refused
            self._show_state()

    async def _watch(self, client: Client) -> None:
        """Wait for the end, looking after silence, keep-alives and refused nodes meanwhile."""
        loop = asyncio.get_running_loop()
        retry_at = loop.time() + self._server.backoff_ceiling / 1e6
        browse_at = loop.time() + self._server.rebrowse / 1e6
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(1.0, self._keep_alive / 2))
                raise SessionEnded(self._why)
            self._feed.check_silence()
            if self._certificates is not None and (why := await self._certificates.outdated()):
                raise SessionEnded(why)
            if (quiet := loop.time() - self._heard) > _MISSED_KEEP_ALIVES * self._keep_alive:
                raise SessionEnded(f"{self._server.url} has not published for {quiet:.1f} s, not even a keep-alive")
            if loop.time() >= retry_at:
                retry_at = loop.time() + self._server.backoff_ceiling / 1e6
                if self._refused():
                    await self._items.retry(client, self._subscription)
                    if self._events is not None:
                        await self._events.retry()
                    self._show_state()
            if loop.time() >= browse_at:
                browse_at = loop.time() + self._server.rebrowse / 1e6
                await self._items.browse(client, self._subscription)
            if self._events is not None:
                await self._events.look_after()
            self._fill(client)

    def _fill(self, client: Client) -> None:
        """Read the server's history beside what is live, when something is missing."""
        if self._holes is None or self._holes.next() is None:
            return
        if self._filling is None or (self._filling.done() and self._filling.exception() is None):
            backfill = Backfill(self._server, self._feed, self._holes, client, self._items.places)
            self._filling = asyncio.create_task(backfill.run(), name=f"{self._server.name} backfill")

    async def _stop_filling(self) -> None:
        """What was not read waits for the next session; why is told by the session's own end."""
        if self._filling is not None:
            self._filling.cancel()
            with suppress(asyncio.CancelledError, UaError, OSError, TimeoutError):
                await self._filling

    async def _publish(self, publish: _Publish, seen: list[ua.SubscriptionAcknowledgement]) -> ua.PublishResponse:
        """The library drops a message that cannot be taken, and asks for the next."""
        try:
            return await publish(seen)
        except UaStructParsingError as error:
            self._cut_off(str(error.__cause__))
            raise

    async def _published(self, result: ua.PublishResult) -> None:
        """The publish callback: everything of one NotificationMessage, or a keep-alive, which has no data."""
        self._heard = asyncio.get_running_loop().time()
        message = result.NotificationMessage
        if self._ended.is_set():
            return
        if not message.NotificationData:
            # OPC 10000-4, section 5.14.1.1: a keep-alive carries the number of the message that will follow.
            await self._check_sequence(message.SequenceNumber)
            self._delivered()
            return
        if any(isinstance(part, ua.StatusChangeNotification) for part in message.NotificationData):
            await self._take(message.NotificationData)
            return
        await self._check_sequence(message.SequenceNumber)
        self._next_message = 1 if message.SequenceNumber == _LAST_SEQUENCE else message.SequenceNumber + 1
        await self._take(message.NotificationData)
        self._delivered()

    async def _check_sequence(self, number: int) -> None:
        """Fetch the messages between the last and ``number`` again; what the server no longer has is a gap."""
        first, last = self._next_message, number - 1
        if last < first:
            return
        missing = range(first, last + 1)
        if len(missing) <= _MOST_REPUBLISHED:
            for wanted in missing:
                with suppress(UaError, OSError, TimeoutError):
                    again = await self._client.uaclient.session.republish(self._subscription, wanted)
                    if again.SequenceNumber == wanted and again.NotificationData:
                        await self._take(again.NotificationData)
                        first = wanted + 1
                        continue
                break
        self._next_message = number
        if first <= last:
            detail = f"notification messages {first} to {last} never came and the server has them no more"
            self._feed.missed(first, last, detail)
            # Which nodes they spoke of is not known: a new subscription begins with the current value of each.
            self._end(detail)

    async def _take(self, parts: Iterable[object]) -> None:
        for part in parts:
            if isinstance(part, ua.DataChangeNotification):
                for number, item in enumerate(part.MonitoredItems, start=1):
                    if number % _AT_ONCE == 0:
                        await asyncio.sleep(0)
                    if (node := self._items.node(item.ClientHandle)) is not None:
                        self._sample(node, item.Value)
            elif isinstance(part, ua.EventNotificationList) and self._events is not None:
                await self._events.take(part.Events or ())
            elif isinstance(part, ua.StatusChangeNotification):
                self._end(f"the server ended the subscription: {status_name(part.Status.value)}")

    def _sample(self, node: Node, data: ua.DataValue) -> None:
        received = clock.now()
        try:
            sample = sampled(data, received, self._server.clock_tolerance, node.select)
        except UnusableTime as error:
            source = f"opcua:{self._server.name}:{node.namespace}:{node.identifier}"
            self._feed.dead_letter(source, str(error), in_words(data), received)
            return
        if sample.overflow:
            self._feed.overflowed(
                node.point,
                event_time=sample.event_time,
                receive_time=received,
                detail=f"the server's queue of the node overflowed (queue_size {node.queue})",
            )
        if self._holes is not None and node.triggered_by is None:  # history does not know what a trigger left out
            self._holes.seen(node.point, sample.event_time)
        self._feed.sample(
            node.point,
            sample.value,
            unit=node.arrives_in,
            quality=sample.quality,
            reason=sample.reason,
            event_time=sample.event_time,
            receive_time=received,
            raw=partial(raw_bytes, data),
        )

    def _delivered(self) -> None:
        if not self.live:
            self.live = True
            self._show_state()

    def _show_state(self) -> None:
        if refused := self._refused():
            self._feed.state(State.DEGRADED, refused[0])
        else:
            self._feed.state(State.LIVE)

    def _refused(self) -> list[str]:
        """Why the server does not let us watch something, of each that it refused."""
        return [*self._items.refused.values(), *(self._events.refused.values() if self._events is not None else ())]

    async def _connection_lost(self, client: Client, error: Exception) -> None:
        if why := why_cut_off(client):
            self._cut_off(why)
        else:
            self._end(f"the connection to {self._server.url} is lost: {str(error) or type(error).__name__}")

    def _cut_off(self, why: str) -> None:
        self._end(f"{self._server.url} is cut off: {why}")

    def _end(self, reason: str) -> None:
        if not self._ended.is_set():
            self._why = reason
            self._ended.set()


async def close(client: Client) -> None:
    """Take leave, but do not wait long for a server that has gone."""
    with suppress(UaError, OSError, TimeoutError):
        await asyncio.wait_for(client.disconnect(), 1.0)
    client.disconnect_socket()
