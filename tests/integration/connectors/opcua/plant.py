"""asyncua's server in a thread of its own, with faults on request, and what its tests share."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.structures104 import new_struct, new_struct_field
from asyncua.server.server import Server
from prometheus_client import REGISTRY

from connectors.metrics import State
from connectors.opcua.config import OpcUaServer
from connectors.opcua.connector import OpcUaConnector

URI = "urn:test:plant"
MOMENT = datetime(2026, 9, 21, 12, 0, 0, 250_000, tzinfo=UTC)


def unused_port() -> int:
    """A TCP port that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Plant:
    """A server in a thread of its own, with Double nodes ``s=NAME`` in the namespace URI."""

    def __init__(
        self,
        port: int,
        *names: str,
        before: tuple[str, ...] = (),
        secure: dict[str, Any] | None = None,
        conditions: bool = True,
    ) -> None:
        self.url = f"opc.tcp://127.0.0.1:{port}/plant"
        self._names, self._before, self._secure, self._conditions = names, before, secure, conditions
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Plant:
        self._thread.start()
        try:
            self._do(self._start(), 100.0)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            self._do(self.server.stop())
        finally:
            self._end()

    def _end(self) -> None:
        def stop() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()  # the server leaves some behind
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, coroutine: Any, timeout: float = 60.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    async def _start(self) -> None:
        self.server = Server(user_manager=self._secure["users"] if self._secure else None)
        self.server.iserver.bind_condition_methods = self._conditions
        await self.server.init()
        self.server.set_endpoint(self.url)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        if self._secure:
            await self.server.set_application_uri(self._secure["uri"])
            self.server.set_security_policy(self._secure["policies"])
            await self.server.load_certificate(self._secure["certificate"])
            await self.server.load_private_key(self._secure["key"])
        for uri in self._before:
            await self.server.register_namespace(uri)
        self.index = await self.server.register_namespace(URI)
        for name in self._names:
            await self._add(name)
        await self.server.start()

    async def _add(self, name: str) -> None:
        node = ua.NodeId.from_string(f"ns={self.index};s={name}")
        await self.server.nodes.objects.add_variable(node, name, 0.0)

    def add(self, name: str) -> None:
        self._do(self._add(name))

    def build(self, path: str, value: Any) -> None:
        """A variable at a browse path below Objects; what is missing on the way is made an object."""

        async def act() -> None:
            here = self.server.nodes.objects
            *way, name = path.split("/")
            for step in way:
                known = {(await child.read_browse_name()).Name: child for child in await here.get_children()}
                here = known.get(step) or await here.add_object(self.index, step)
            await here.add_variable(ua.NodeId(path, self.index), name, value)

        self._do(act())

    def describe(self, path: str, **properties: Any) -> None:
        """Properties of a variable that was built, such as its EngineeringUnits."""

        async def act() -> None:
            for name, value in properties.items():
                await self.server.get_node(ua.NodeId(path, self.index)).add_property(0, name, value)

        self._do(act())

    def structure(self, name: str, fields: dict[str, ua.VariantType]) -> type:
        """A structure type of the server's own, as a class."""

        async def act() -> None:
            described = [new_struct_field(field, kind) for field, kind in fields.items()]
            await new_struct(self.server, self.index, name, described)
            await self.server.load_data_type_definitions()

        self._do(act())
        return getattr(ua, name)

    def write(self, name: str, value: object, code: int = 0, moment: datetime | None = MOMENT) -> None:
        data = ua.DataValue(
            ua.Variant(value, ua.VariantType.Double if isinstance(value, float) else None),
            ua.StatusCode(code),
            SourceTimestamp=moment,
        )
        node = ua.NodeId.from_string(f"ns={self.index};s={name}")
        self._do(self.server.write_attribute_value(node, data))

    def take_at_once(self, most: int) -> list[int]:
        """Say that a request may create ``most`` monitored items; returns how many each request from now on does."""
        limit = ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall)
        self._do(self.server.get_node(limit).write_value(ua.Variant(most, ua.VariantType.UInt32)))
        service, portions = self.server.iserver.subscription_service, []
        create = service.create_monitored_items

        async def counted(parameters: Any, *rest: Any) -> Any:
            portions.append(len(parameters.ItemsToCreate))
            return await create(parameters, *rest)

        service.create_monitored_items = counted
        return portions

    def historize(self, name: str) -> None:
        """Keep the node's values from now on."""
        node = self.server.get_node(ua.NodeId.from_string(f"ns={self.index};s={name}"))
        self._do(self.server.historize_node_data_change(node, period=None))

    def cut(self, name: str, values: list[tuple[float, datetime]]) -> None:
        """Cut every connection, and write ``values`` before anybody can be connected again."""

        async def act() -> None:
            for client in list(self.server.bserver.clients):
                client.transport.abort()
            node = ua.NodeId.from_string(f"ns={self.index};s={name}")
            for value, moment in values:
                data = ua.DataValue(ua.Variant(value, ua.VariantType.Double), SourceTimestamp=moment)
                await self.server.write_attribute_value(node, data)

        self._do(act())

    def lose_next_message(self, *, for_good: bool) -> None:
        """The next NotificationMessage does not reach the client; ``for_good``: nor can it be fetched again."""

        async def arm() -> None:
            (subscription,) = self.server.iserver.subscription_service.subscriptions.values()
            send = subscription.pub_result_callback

            async def swallow(result: ua.PublishResult, request: Any) -> None:
                if not result.NotificationMessage.NotificationData:
                    await send(result, request)
                    return
                send.__self__._publish_requests.appendleft(request)
                subscription.pub_result_callback = send
                if for_good:
                    subscription._not_acknowledged_results.clear()

            subscription.pub_result_callback = swallow

        self._do(arm())

    def fire(
        self, message: str, kind: int = ua.ObjectIds.BaseEventType, *, moment: datetime = MOMENT, **says: Any
    ) -> str:
        """An event of the Server object; its id."""

        async def act() -> str:
            events = await self.server.get_event_generator(kind)
            for name, value in says.items():
                setattr(events.event, name, value)
            await events.trigger(moment, message)
            return str(events.event.EventId.Value.hex())

        return str(self._do(act()))

    def alarm(self, name: str) -> Callable[..., str]:
        """A condition of the Server object: called with what changes, it tells its state; the id of that event."""

        async def make() -> Any:
            events = await self.server.get_event_generator(ua.ObjectIds.AlarmConditionType)
            events.event.NodeId = ua.NodeId(name, self.index)
            events.event.ConditionName = name
            return events

        events = self._do(make())

        def change(message: str, *, moment: datetime = MOMENT, **states: bool) -> str:
            async def act() -> str:
                for state, value in states.items():
                    setattr(events.event, state if state == "Retain" else f"{state}State/Id", value)
                await events.trigger(moment, message)
                return str(events.event.EventId.Value.hex())

            return str(self._do(act()))

        return change

    def overflow(self) -> None:
        """Say that the event queue has overflowed, which asyncua's server never says."""
        self.fire("overflow", ua.ObjectIds.EventQueueOverflowEventType)

    def cut_connections(self) -> None:
        """Cut every connection."""

        async def act() -> None:
            for client in list(self.server.bserver.clients):
                client.transport.abort()

        self._do(act())

    def freeze(self) -> None:
        """The subscription stays and never publishes again, while everything else answers."""

        async def stop() -> None:
            for subscription in self.server.iserver.subscription_service.subscriptions.values():
                subscription._task.cancel()

        self._do(stop())


def node(point: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"point": point, "namespace": URI, "identifier": f"s={name or point}", "unit": "MW", **fields}


def settings(url: str, *nodes: dict[str, Any], folder: Path | None = None, **fields: Any) -> OpcUaServer:
    quick = {"publishing_interval": 0.05, "keep_alive": 0.3, "backoff_ceiling": 0.5, "timeout": 2}
    return OpcUaServer.model_validate(
        {"name": "d", "url": url, "nodes": list(nodes), **quick, **fields},
        context={"folder": folder} if folder else None,
    )


def state(device: str) -> State | None:
    for one in State:
        labels = {"connector": "opcua", "device": device, "state": one.value}
        if REGISTRY.get_sample_value("gridtape_connector_state", labels):
            return one
    return None


def connector(server: OpcUaServer):
    return lambda publisher: OpcUaConnector([server], publisher)
