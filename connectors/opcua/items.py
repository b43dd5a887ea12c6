"""The monitored items of one subscription: created in portions that the server takes, refused ones told and kept."""

from __future__ import annotations

import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.uaerrors import UaStatusCodeError

from connectors import clock
from connectors.device import DeviceFeed
from connectors.opcua.config import Deadband, Node, OpcUaServer
from connectors.opcua.values import status_name
from schemas.base import Quality

log = structlog.get_logger(__name__)
_PORTION = 1000  # items of one request, unless the server says that it takes fewer
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

    async def create(self, client: Client, subscription: int) -> None:
        """Subscribe all nodes. Raises ua.UaError, OSError or TimeoutError when the connection breaks."""
        await self._create(client, subscription, list(self.nodes))

    async def retry(self, client: Client, subscription: int) -> None:
        """Subscribe the refused ones. Raises as :meth:`create`."""
        await self._create(client, subscription, list(self.refused))

    async def _create(self, client: Client, subscription: int, handles: list[int]) -> None:
        namespaces = await client.get_namespace_array()
        placed: list[tuple[int, ua.NodeId]] = []
        for handle in handles:
            node = self.nodes[handle]
            if node.namespace in namespaces:
                index = namespaces.index(node.namespace)
                placed.append((handle, ua.NodeId.from_string(f"ns={index};{node.identifier}")))
            else:
                known = ", ".join(namespaces)
                self._refuse(handle, f"the server has no namespace {node.namespace}; it has {known}")
        portion = await _portion(client)
        unfiltered = []
        for start in range(0, len(placed), portion):
            unfiltered += await self._request(client, subscription, placed[start : start + portion], filtered=True)
        for start in range(0, len(unfiltered), portion):
            await self._request(client, subscription, unfiltered[start : start + portion], filtered=False)

    async def _request(
        self, client: Client, subscription: int, placed: list[tuple[int, ua.NodeId]], *, filtered: bool
    ) -> list[tuple[int, ua.NodeId]]:
        """Create items; those whose filter the server does not take are returned."""
        parameters = ua.CreateMonitoredItemsParameters(
            SubscriptionId=subscription,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=[_item(handle, self.nodes[handle], place, filtered=filtered) for handle, place in placed],
        )
        results = await client.uaclient.session.create_monitored_items(parameters)
        unfiltered = []
        for (handle, place), result in zip(placed, results, strict=True):
            node, status = self.nodes[handle], status_name(result.StatusCode.value)
            if result.StatusCode.is_good():
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
        if result.RevisedQueueSize < node.queue_size:
            log.warning(
                "the server keeps fewer samples than asked for; what comes faster is lost there",
                device=self._server.name,
                point=node.point,
                asked=node.queue_size,
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


async def _portion(client: Client) -> int:
    """How many items the server takes at once (OPC 10000-5, section 6.3.11); many small ones say nothing of it."""
    limit = ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
    try:
        said = await client.get_node(f"i={limit}").read_value()
    except UaStatusCodeError:
        said = 0
    return min(said, _PORTION) if isinstance(said, int) and said > 0 else _PORTION


def _item(handle: int, node: Node, place: ua.NodeId, *, filtered: bool) -> ua.MonitoredItemCreateRequest:
    parameters = ua.MonitoringParameters(
        ClientHandle=handle,
        SamplingInterval=node.sampling_interval / 1e3,
        QueueSize=node.queue_size,
        DiscardOldest=True,
        Filter=_filter(node.deadband) if filtered else None,
    )
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=place, AttributeId=AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
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
