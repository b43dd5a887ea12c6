"""The monitored items of one subscription: created in portions that the server takes, refused ones told and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from connectors import clock
from connectors.device import DeviceFeed
from connectors.lifecycle import Profile, profile_of
from connectors.opcua.bounds import each
from connectors.opcua.browse import find, placed
from connectors.opcua.config import OpcUaServer
from connectors.opcua.limits import at_once
from connectors.opcua.nodes import Deadband, Node
from connectors.opcua.triggering import link
from connectors.opcua.values import status_name
from schemas.base import Quality

log = structlog.get_logger(__name__)
_PORTION = 1000  # items of one request, unless the server says that it takes fewer
_WORDS = 1000  # of what is said of each refused node
_LIMIT = ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
_FILTER_REFUSED = frozenset(
    {
        "BadMonitoredItemFilterUnsupported",
        "BadMonitoredItemFilterInvalid",
        "BadFilterNotAllowed",
        "BadDeadbandFilterInvalid",
    }
)


class Items:
    """What is watched, by client handle. One bad node is a bad sample of its point and never holds up the others."""

    def __init__(self, server: OpcUaServer, feed: DeviceFeed) -> None:
        self.nodes: dict[int, Node] = dict(enumerate(server.nodes, start=1))
        self.refused: dict[int, str] = {}
        """Why the server refused a node last."""
        self.places: dict[str, tuple[Node, ua.NodeId]] = {}
        """Where the nodes that are watched stand on the server now, by point."""
        self._server = server
        self._feed = feed
        self._ids: dict[int, int] = {}  # what the server calls each that it watches
        self._triggers = {node.point: handle for handle, node in self.nodes.items()}
        self._unlinked: set[int] = set()
        self._found: Counter[int] = Counter()  # by pattern: a server that tells others each time has an end as well

    def node(self, handle: int) -> Node | None:
        """Whose notification it is; None: of one whose trigger could not be set, which some servers report anyway."""
        return None if handle in self._unlinked else self.nodes.get(handle)

    async def create(self, client: Client, subscription: int) -> None:
        """Subscribe all nodes. Raises ua.UaError, OSError or TimeoutError when the connection breaks."""
        await self._create(client, subscription, list(self.nodes))
        await self.browse(client, subscription)

    async def browse(self, client: Client, subscription: int) -> None:
        """Look for what fits the patterns, and subscribe what is new. Raises as :meth:`create`."""
        if not self._server.browse:
            return
        namespaces = await client.get_namespace_array()
        points = {node.point: (node.namespace, node.identifier) for node in self.nodes.values()}
        new: dict[int, Node] = {}
        for number, wanted in enumerate(self._server.browse):
            for node in await find(client, wanted, namespaces):
                place = (node.namespace, node.identifier)
                if node.point not in points:
                    if self._found[number] >= wanted.most:
                        log.warning("more variables fit than are watched", path=wanted.path, most=wanted.most)
                        break
                    self._found[number] += 1
                    points[node.point] = place
                    new[len(points)] = node
                elif points[node.point] != place:
                    log.warning(
                        "two variables would be one point; the second is not watched",
                        device=self._server.name,
                        point=node.point,
                        watched=points[node.point][1],
                        second=node.identifier,
                    )
        if not new:
            return
        log.info("variables were found by browsing", device=self._server.name, count=len(new))
        self.nodes.update(new)
        watched = list(self.nodes.values())
        self._feed.describe(profile_for(self._server, watched), {node.point: node for node in watched})
        for node in new.values():
            if node.silence is not None:
                self._feed.watch(node.point, node.silence)
        await self._create(client, subscription, list(new))

    async def retry(self, client: Client, subscription: int) -> None:
        """Subscribe the refused ones. Raises as :meth:`create`."""
        await self._create(client, subscription, list(self.refused))

    async def _create(self, client: Client, subscription: int, handles: list[int]) -> None:
        namespaces = await client.get_namespace_array()
        there = ", ".join(namespaces)[:_WORDS]
        known: list[tuple[int, ua.NodeId]] = []
        for handle in handles:
            if handle in self._ids:
                continue  # only its trigger could not be set
            node = self.nodes[handle]
            if (place := placed(namespaces, node.namespace, node.identifier)) is not None:
                known.append((handle, place))
            else:
                self._refuse(handle, f"the server has no namespace {node.namespace}; it has {there}")
        portion = await at_once(client, _LIMIT, _PORTION)
        unfiltered = []
        for start in range(0, len(known), portion):
            unfiltered += await self._request(client, subscription, known[start : start + portion], filtered=True)
        for start in range(0, len(unfiltered), portion):
            await self._request(client, subscription, unfiltered[start : start + portion], filtered=False)
        await self._set_triggers(client, subscription, handles, portion)

    async def _set_triggers(self, client: Client, subscription: int, handles: list[int], portion: int) -> None:
        """Have those of ``handles`` that wait for another node reported with it."""
        waiting: dict[int, list[int]] = {}
        for handle in handles:
            if handle not in self._ids or (point := self.nodes[handle].triggered_by) is None:
                continue
            trigger = self._triggers[point]
            if trigger in self._ids:
                waiting.setdefault(trigger, []).append(handle)
            else:
                self._unlink(handle, f"its trigger {point} is not watched: {self.refused[trigger]}")
        for trigger, those in waiting.items():
            for start in range(0, len(those), portion):
                part = those[start : start + portion]
                answers = await link(client, subscription, self._ids[trigger], [self._ids[handle] for handle in part])
                for handle, refusal in zip(part, answers, strict=True):
                    if refusal:
                        point = self.nodes[trigger].point
                        why = f"{refusal}: the server does not let {point} trigger it"
                        self._unlink(handle, f"{why}; without triggered_by every change would be reported")
                    else:
                        self._unlinked.discard(handle)
                        self.refused.pop(handle, None)

    def _unlink(self, handle: int, reason: str) -> None:
        self._unlinked.add(handle)
        self._refuse(handle, reason)

    async def _request(
        self, client: Client, subscription: int, known: list[tuple[int, ua.NodeId]], *, filtered: bool
    ) -> list[tuple[int, ua.NodeId]]:
        """Create items; those whose filter the server does not take are returned."""
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=subscription,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[_item(handle, self.nodes[handle], place, filtered=filtered) for handle, place in known],
        )
        results = each(await client.uaclient.session.create_monitored_items(parameters), len(known))
        unfiltered = []
        for (handle, place), result in zip(known, results, strict=True):
            node, status = self.nodes[handle], status_name(result.StatusCode.value)
            if result.StatusCode.is_good():
                self._ids[handle] = result.MonitoredItemId
                self.refused.pop(handle, None)
                self.places[node.point] = (node, place)
                self._tell_revised(node, result)
            elif filtered and status in _FILTER_REFUSED:
                unfiltered.append((handle, place))
                log.warning(
                    "the server cannot filter this node: every change of its value is taken",
                    device=self._server.name,
                    point=node.point,
                    status=status,
                )
            else:
                where = f"{node.identifier} in {node.namespace}"
                self._refuse(handle, f"{status}: the server does not let us watch {where}")
        return unfiltered

    def _tell_revised(self, node: Node, result: ua.MonitoredItemCreateResult) -> None:
        if result.RevisedQueueSize < node.queue:
            log.warning(
                "the server keeps fewer samples than asked for; what comes faster is lost there",
                device=self._server.name,
                point=node.point,
                asked=node.queue,
                given=result.RevisedQueueSize,
            )

    def _refuse(self, handle: int, reason: str) -> None:
        node = self.nodes[handle]
        if self.refused.get(handle) != reason:
            now = clock.now()
            self._feed.sample(
                node.point,
                None,
                unit=node.arrives_in,
                quality=Quality.BAD,
                reason=reason,
                event_time=now,
                receive_time=now,
            )
        self.refused[handle] = reason


def profile_for(server: OpcUaServer, nodes: Iterable[Node]) -> Profile:
    """What is told of a server beside its samples."""
    return profile_of(server.name, "opcua", server, ((one.point, one.unit, one.range) for one in nodes))


def _item(handle: int, node: Node, place: ua.NodeId, *, filtered: bool) -> ua.MonitoredItemCreateRequest:
    parameters = ua.MonitoringParameters(
        ClientHandle=handle,
        SamplingInterval=node.sampling_interval / 1e3,
        QueueSize=node.queue,
        DiscardOldest=True,
        Filter=_filter(node.deadband) if filtered else None,
    )
    alone = node.triggered_by is None
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=place, AttributeId=AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting if alone else ua.MonitoringMode.Sampling,
        RequestedParameters=parameters,
    )


def _filter(deadband: Deadband | None) -> ua.DataChangeFilter:
    """Without a deadband a new source time is news as well: a value that rests is still seen to be fresh."""
    if deadband is None:
        return ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
    percent = deadband.percent is not None
    return ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue,
        DeadbandType=ua.DeadbandType.Percent if percent else ua.DeadbandType.Absolute,
        DeadbandValue=deadband.percent if percent else deadband.absolute,
    )
