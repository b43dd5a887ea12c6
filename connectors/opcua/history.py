"""Fills the holes between two sessions from the server's history (OPC 10000-11): late, marked, never restamped.

What is live never waits for it: history is read page by page, one node at a time, and only while nothing else waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import structlog
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from connectors import clock
from connectors.device import DeviceFeed
from connectors.opcua.bounds import each
from connectors.opcua.config import OpcUaServer
from connectors.opcua.holes import Hole, Holes
from connectors.opcua.nodes import Node
from connectors.opcua.values import UnusableTime, sampled, source_time, status_name

log = structlog.get_logger(__name__)
_PAGE = 1000  # values per request
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = frozenset({"BadNoData", "GoodNoData", "BadBoundNotFound", "BadBoundNotSupported"})


class Backfill:
    """Reads what one session finds missing. ``nodes``: where each point stands on the server, by its name."""

    def __init__(
        self,
        server: OpcUaServer,
        feed: DeviceFeed,
        holes: Holes,
        client: Client,
        nodes: Mapping[str, tuple[Node, ua.NodeId]],
    ) -> None:
        self._server = server
        self._feed = feed
        self._holes = holes
        self._client = client
        self._nodes = nodes
        self._values = 0
        self._points: set[str] = set()
        self._without: dict[str, str] = {}

    async def run(self) -> None:
        """Fill every hole that waits, then say in the closed gaps what came of it.

        Raises ua.UaError or OSError when the connection breaks; what is not filled then waits on.
        """
        while (hole := self._holes.next()) is not None:
            if hole.point not in self._nodes:
                self._given_up(hole, "the server has not this node any more")
                continue
            try:
                await self._fill(hole, *self._nodes[hole.point])
            except UaStatusCodeError as error:
                self._given_up(hole, status_name(int(error.code)))
            except TimeoutError:
                self._given_up(hole, f"no answer within {self._server.timeout / 1e6:g} s")
            except (UaError, OSError) as error:
                log.warning("reading history is interrupted", device=self._server.name, why=str(error) or repr(error))
                raise
        self._feed.backfilled(self._told())

    async def _fill(self, hole: Hole, node: Node, node_id: ua.NodeId) -> None:
        continuation = None
        while True:
            await self._room()
            result = await self._read(hole, node_id, continuation)
            status = status_name(result.StatusCode.value)
            if not result.StatusCode.is_good() and status not in _NOTHING:
                self._given_up(hole, status)
                return
            values = list(getattr(result.HistoryData, "DataValues", None) or [])
            newest = self._publish(hole, node, values)
            continuation = result.ContinuationPoint or None
            # A full page without continuation point: some servers cut there and do not say so.
            if newest is None or not (continuation or len(values) >= _PAGE):
                self._holes.filled(hole)
                return
            self._holes.filled(hole, upto=newest)
            hole = Hole(hole.point, newest, hole.before)

    async def _read(self, hole: Hole, node_id: ua.NodeId, continuation: bytes | None) -> ua.HistoryReadResult:
        details = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=_EPOCH + timedelta(microseconds=hole.after),
            EndTime=_EPOCH + timedelta(microseconds=hole.before),
            NumValuesPerNode=_PAGE,
            ReturnBounds=False,
        )
        wanted = ua.HistoryReadValueId(NodeId=node_id, ContinuationPoint=continuation)
        parameters = ua.HistoryReadParameters(
            HistoryReadDetails=details,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=False,
            NodesToRead=[wanted],
        )
        (result,) = each(await self._client.uaclient.session.history_read(parameters), 1)
        return result

    def _publish(self, hole: Hole, node: Node, values: list[ua.DataValue]) -> int | None:
        """Hand over what is within the hole; its newest source time, None when there was nothing."""
        received = clock.now()
        newest = None
        for data in values:
            try:
                time = source_time(data)
            except UnusableTime:
                continue  # it cannot be placed; what is live and as wrong becomes a dead letter
            if time is None or not hole.after < time < hole.before:
                continue
            sample = sampled(data, received, self._server.clock_tolerance, node.select)
            self._feed.sample(
                hole.point,
                sample.value,
                unit=node.arrives_in,
                quality=sample.quality,
                reason=sample.reason,
                event_time=sample.event_time,
                receive_time=received,
                historical=True,
            )
            newest = time if newest is None else max(newest, time)
            self._values += 1
            self._points.add(hole.point)
        return newest

    async def _room(self) -> None:
        while not self._feed.idle:  # noqa: ASYNC110 - it is another thread that makes room
            await asyncio.sleep(0.05)

    def _given_up(self, hole: Hole, why: str) -> None:
        self._holes.filled(hole)
        if hole.point not in self._without:
            self._without[hole.point] = why
            log.warning("history cannot be read", device=self._server.name, point=hole.point, why=why)

    def _told(self) -> str:
        said = f"backfilled: {self._values} values of {len(self._points)} points from the server's history"
        if self._without:
            point, why = next(iter(self._without.items()))
            said += f"; {len(self._without)} points could not be read, {point} for one: {why}"
        return said
