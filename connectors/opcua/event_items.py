"""The events of one session: watched objects, their types, and the states of conditions asked for anew.

A new session, or a queue that overflowed on the server, means that changes of conditions were missed. ConditionRefresh
(OPC 10000-9, section 5.5.7) has the server tell all states that still need somebody; then the gap is closed. The start
and end events around the answer come for the Server object alone on some servers, and then say nothing of the order in
which other objects' events come: so the answer has ended two publishings after its end event.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from contextlib import suppress

import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from connectors import clock
from connectors.device import DeviceFeed
from connectors.opcua.bounds import each
from connectors.opcua.browse import Path, event_types, object_at, placed
from connectors.opcua.config import Events, OpcUaServer
from connectors.opcua.event_feed import EventFeed
from connectors.opcua.events import Field, Said, by_path, event_of, filters, type_of
from connectors.opcua.values import UnusableTime, in_words, standard, status_name
from schemas.events import Event

log = structlog.get_logger(__name__)
_AT_ONCE = 100  # events, before another server has its turn
_MOST_SEVERE = 100_000  # conditions that are remembered
_TYPES_AGAIN = 60.0  # seconds before an unknown type makes us look for all types again
_FILTER_REFUSED = frozenset(
    {
        "BadMonitoredItemFilterUnsupported",
        "BadMonitoredItemFilterInvalid",
        "BadFilterNotAllowed",
        "BadEventFilterInvalid",
        "BadContentFilterInvalid",
        "BadFilterOperatorInvalid",
        "BadFilterOperatorUnsupported",
        "BadFilterOperandInvalid",
    }
)
_START = standard(ObjectIds.RefreshStartEventType)
_END = standard(ObjectIds.RefreshEndEventType)
_REQUIRED = standard(ObjectIds.RefreshRequiredEventType)
_OVERFLOW = standard(ObjectIds.EventQueueOverflowEventType)


class EventItems:
    """The watched objects by client handle; one that the server refuses holds up nothing but itself."""

    def __init__(self, server: OpcUaServer, feed: DeviceFeed, told: EventFeed) -> None:
        self.refused: dict[int, str] = {}
        """Why the server refused an object last."""
        self._server = server
        self._feed = feed
        self._told = told
        self._wanted = dict(enumerate(server.events, start=1))
        self._fields: dict[int, tuple[Field, ...]] = {}  # what is asked of each watched object
        self._types: dict[ua.NodeId, Path] = {}
        self._types_at = 0.0
        self._namespaces: list[str] = []
        self._severe: set[int] = set()  # hashes of the conditions that were severe enough and are not over
        self._ceiling = server.backoff_ceiling / 1e6
        self._ask_at: float | None = None  # when the states are to be asked for
        self._asked_at = -math.inf
        self._asked: int | None = None  # the same in microseconds UTC, the question's name; None: all is answered
        self._begun: set[int] = set()  # handles whose answer has begun and not ended
        self._ended = False  # an answer has ended
        self._framed_at = 0.0  # when the newest start or end came, or the question was asked

    async def create(self, client: Client, subscription: int, interval: float) -> None:
        """Watch all objects, then ask for the states. ``interval``: seconds between two publishings.

        Raises ua.UaError, OSError or TimeoutError when the connection breaks.
        """
        self._client, self._subscription = client, subscription
        self._grace = 2 * interval
        self._namespaces = await client.get_namespace_array()
        await self._look_for_types()
        for handle in self._wanted:
            await self._watch(handle)
        await self._refresh()

    async def look_after(self) -> None:
        """Ask for the states when that is due, and for no longer than they may take. Raises as :meth:`create`."""
        now, timeout = asyncio.get_running_loop().time(), self._server.timeout / 1e6
        if self._asked is not None:
            passed = now - self._framed_at
            if self._ended and not self._begun and passed > self._grace:
                self._complete("the states of all conditions that need somebody have been told again")
            elif passed > (max(self._ceiling, timeout) if self._begun else timeout + self._grace):
                self._complete("the server has not said that it has told all states of its conditions")
        elif self._ask_at is not None and now >= self._ask_at and not self._feed.full:
            await self._refresh()

    async def retry(self) -> None:
        """Try the refused ones again. Raises as :meth:`create`."""
        if self.refused:
            await self._look_for_types()
        for handle in list(self.refused):
            await self._watch(handle)
            if handle not in self.refused:
                self._ask_soon()

    async def take(self, events: Iterable[ua.EventFieldList]) -> None:
        """The events of a notification message, in order."""
        received = clock.now()
        for number, one in enumerate(events, start=1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if (chosen := self._fields.get(one.ClientHandle)) is None:
                continue
            told = by_path(chosen, one.EventFields or ())
            kind = type_of(told)
            if kind == _START:
                self._begun.add(one.ClientHandle)
                self._framed_at = asyncio.get_running_loop().time()
            elif kind == _END:
                self._begun.discard(one.ClientHandle)
                self._ended = True
                self._framed_at = asyncio.get_running_loop().time()
            elif kind == _REQUIRED:
                self._lost("the server says that states of conditions must be asked for anew")
            elif kind == _OVERFLOW:
                wanted = self._wanted[one.ClientHandle]
                self._lost(f"the server's queue of {wanted.place} overflowed (queue_size {wanted.queue_size})")
            else:
                await self._take(one.ClientHandle, told, received)

    async def _take(self, handle: int, told: Said, received: int) -> None:
        wanted, kind = self._wanted[handle], type_of(told)
        if kind not in self._types and asyncio.get_running_loop().time() > self._types_at + _TYPES_AGAIN:
            with suppress(UaError, OSError, TimeoutError):  # the event itself must not be lost with its name
                await self._look_for_types()
        names = self._types.get(kind, ())
        if names and wanted.types and wanted.types.isdisjoint(names):
            return  # a type that cannot be found cannot be told from what is wanted
        try:
            event = event_of(
                told,
                device=self._server.name,
                type_name=names[-1] if names else kind.to_string(),
                namespaces=self._namespaces,
                receive_time=received,
                clock_tolerance=self._server.clock_tolerance,
            )
        except UnusableTime as error:
            source = f"opcua:{self._server.name}:{wanted.place}"
            self._feed.dead_letter(source, str(error), in_words(told), received)
            return
        if not self._is_severe(handle, event):
            return
        is_answer = self._asked is not None and event.condition_id is not None
        if not self._told.tell(event, self._asked if is_answer else None):
            self._lost("events found no room while Kafka took nothing")

    def _is_severe(self, handle: int, event: Event) -> bool:
        """A condition that was once severe enough is told to its end, however little that weighs."""
        severe = event.severity is None or event.severity >= self._wanted[handle].severity
        if event.condition_id is None:
            return severe
        condition = hash((handle, event.condition_id))
        if severe and len(self._severe) < _MOST_SEVERE:
            self._severe.add(condition)
        severe = severe or condition in self._severe
        if event.retain is False:
            self._severe.discard(condition)
        return severe

    async def _look_for_types(self) -> None:
        self._types_at = asyncio.get_running_loop().time()
        self._types = await event_types(self._client)

    async def _watch(self, handle: int) -> None:
        wanted = self._wanted[handle]
        if unknown := wanted.types.difference(*self._types.values()):
            self._refuse(handle, f"the server has no event type {', '.join(sorted(unknown))}")
            return
        if wanted.path is not None:
            place = await object_at(self._client, wanted.path)
        else:
            place = placed(self._namespaces, wanted.namespace, wanted.identifier)
        if place is None:
            self._refuse(handle, f"the server has no object {wanted.place}")
            return
        status = ""
        for chosen, wanted_filter in filters(wanted.severity):
            # Known before the first event can come.
            self._fields[handle] = chosen
            status = await self._request(handle, wanted, place, wanted_filter)
            if not status:
                self.refused.pop(handle, None)
                return
            if status not in _FILTER_REFUSED:
                break
            log.warning(
                "the server does not take this event filter and is asked for less",
                device=self._server.name,
                object=wanted.place,
                status=status,
            )
        del self._fields[handle]
        self._refuse(handle, f"{status}: the server does not let us watch the events of {wanted.place}")

    async def _request(self, handle: int, wanted: Events, place: ua.NodeId, event_filter: ua.EventFilter) -> str:
        """Create the item; the name of the status if the server refuses."""
        item = ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=place, AttributeId=AttributeIds.EventNotifier),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=handle,
                SamplingInterval=0,
                QueueSize=wanted.queue_size,
                DiscardOldest=True,
                Filter=event_filter,
            ),
        )
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=self._subscription, TimestampsToReturn=ua.TimestampsToReturn.Both, ItemsToCreate=[item]
        )
        (result,) = each(await self._client.uaclient.session.create_monitored_items(parameters), 1)
        if not result.StatusCode.is_good():
            return status_name(result.StatusCode.value)
        if result.RevisedQueueSize < wanted.queue_size:
            log.warning(
                "the server keeps fewer events than asked for; what comes faster is lost there",
                device=self._server.name,
                object=wanted.place,
                asked=wanted.queue_size,
                given=result.RevisedQueueSize,
            )
        return ""

    def _refuse(self, handle: int, reason: str) -> None:
        self.refused[handle] = reason

    def _lost(self, detail: str) -> None:
        self._told.lost(detail)
        self._ask_soon()

    def _ask_soon(self) -> None:
        """A server whose queue overflows with the answer itself is not asked again and again."""
        now = asyncio.get_running_loop().time()
        self._ask_at = now if now - self._asked_at > self._ceiling else self._asked_at + self._ceiling

    def _complete(self, detail: str) -> None:
        """The question is answered; unless something was lost meanwhile, all is known."""
        self._asked = None
        if self._ask_at is None:
            self._told.known(detail)

    async def _refresh(self) -> None:
        """Have the server tell the states of its conditions; one that knows none says so."""
        if not self._fields:
            return
        self._ask_at = None
        self._asked_at = self._framed_at = asyncio.get_running_loop().time()
        self._asked, self._ended = clock.now(), False
        self._begun.clear()
        request = ua.CallMethodRequest(
            ObjectId=standard(ObjectIds.ConditionType),
            MethodId=standard(ObjectIds.ConditionType_ConditionRefresh),
            InputArguments=[ua.Variant(self._subscription, ua.VariantType.UInt32)],
        )
        try:
            (result,) = each(await self._client.uaclient.session.call([request]), 1)
            code = int(result.StatusCode.value)
        except UaStatusCodeError as error:
            code = int(error.code)
        status = status_name(code)
        if code >> 30 and status != "BadRefreshInProgress":
            log.info("the server tells no states of conditions", device=self._server.name, status=status)
            self._complete(f"the server tells no states of conditions: {status}")
