"""The OPC UA connector on asyncua's server: values, states, losses, restarts and certificates."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from connectors.metrics import State
from connectors.opcua.config import OpcUaServer
from connectors.opcua.connector import OpcUaConnector
from connectors.opcua.simulator import NAMESPACE, simulate
from schemas.base import Quality

URI = "urn:test:plant"
MOMENT = datetime(2026, 9, 21, 12, 0, 0, 250_000, tzinfo=UTC)


class Plant:
    """A server in a thread of its own, with Double nodes ``s=NAME`` in the namespace URI."""

    def __init__(self, port: int, *names: str, before: tuple[str, ...] = (), secure: dict[str, Any] | None = None):
        self.url = f"opc.tcp://127.0.0.1:{port}/plant"
        self._names, self._before, self._secure = names, before, secure
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Plant:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_exc: object) -> None:
        self._do(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> None:
        self.server = Server(user_manager=self._secure["users"] if self._secure else None)
        await self.server.init()
        self.server.set_endpoint(self.url)
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        if self._secure:
            await self.server.set_application_uri(self._secure["uri"])
            self.server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
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

    def write(self, name: str, value: object, code: int = 0, moment: datetime | None = MOMENT) -> None:
        data = ua.DataValue(
            ua.Variant(value, ua.VariantType.Double if isinstance(value, float) else None),
            ua.StatusCode(code),
            SourceTimestamp=moment,
        )
        node = ua.NodeId.from_string(f"ns={self.index};s={name}")
        self._do(self.server.write_attribute_value(node, data))

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


@pytest.fixture(scope="module")
def shared_plant() -> Iterator[Plant]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with Plant(port, "A", "B") as plant:
        yield plant


@pytest.fixture
def plant(shared_plant: Plant) -> Plant:
    """One server for many tests (it takes a second and more to start), its nodes as if new."""
    shared_plant.write("A", 0.0)
    shared_plant.write("B", 0.0)
    return shared_plant


def state(device: str) -> State | None:
    for one in State:
        labels = {"connector": "opcua", "device": device, "state": one.value}
        if REGISTRY.get_sample_value("gridtape_connector_state", labels):
            return one
    return None


def connector(server: OpcUaServer):
    return lambda publisher: OpcUaConnector([server], publisher)


def test_connector_when_the_farm_simulator_runs_reads_its_points_and_its_dip(tape, running, free_port):
    stop = threading.Event()
    url = f"opc.tcp://127.0.0.1:{free_port}/farm"
    farm = threading.Thread(target=simulate, args=(url, stop), kwargs={"seed": 7, "first_dip": 2.0})
    farm.start()
    nodes = [
        {**node("output_mw", "Wind.Output"), "namespace": NAMESPACE},
        {**node("forecast_mw", "Wind.Forecast"), "namespace": NAMESPACE},
        {**node("wind_speed", "Wind.Speed", unit="m/s"), "namespace": NAMESPACE},
        {**node("nacelle_temp", "Wind.NacelleTemp", unit="Cel"), "namespace": NAMESPACE},
    ]
    try:
        with running(connector(settings(url, *nodes, name="wind-1"))):
            tape.until(
                lambda: any(
                    output.value < 0.6 * forecast.value
                    for output in tape.samples("output_mw")
                    for forecast in tape.samples("forecast_mw")
                    if output.event_time == forecast.event_time
                ),
                "a dip below 60 % of the forecast",
            )
    finally:
        stop.set()
        farm.join()
    for point in ("output_mw", "forecast_mw", "wind_speed", "nacelle_temp"):
        samples = tape.samples(point, "wind-1")
        assert samples
        assert all(sample.quality is Quality.GOOD for sample in samples)
        assert [sample.sequence for sample in samples] == list(range(1, len(samples) + 1))
    assert len(set(tape.ids)) == len(tape.ids)


def test_connector_when_values_change_keeps_number_status_and_source_time(tape, running, plant):
    server = settings(plant.url, node("a", "A", range={"minimum": 0, "maximum": 100}), node("b", "B"))
    with running(connector(server)):
        tape.until(lambda: tape.samples("a") and tape.samples("b"), "the first values")
        plant.write("A", 42.5)
        plant.write("B", 7.0, StatusCodes.BadSensorFailure)
        tape.until(lambda: tape.samples("a")[-1].value == 42.5, "the good value")
        tape.until(lambda: tape.samples("b")[-1].quality is Quality.BAD, "the bad value")
        plant.write("A", 142.5, StatusCodes.UncertainSubNormal)
        plant.write("B", float("nan"))
        tape.until(lambda: tape.samples("a")[-1].value == 142.5, "the doubtful value")
        tape.until(lambda: tape.samples("b")[-1].value is None, "the value that is no number")
        plant.write("A", 43.0, moment=datetime(1970, 1, 1, tzinfo=UTC))
        tape.until(tape.letters, "a dead letter for the clock that was never set")
        plant.write("A", 44.0)
        tape.until(lambda: tape.samples("a")[-1].value == 44.0, "the good value after it")
    good = next(sample for sample in tape.samples("a") if sample.value == 42.5)
    assert good.event_time == int(MOMENT.timestamp()) * 1_000_000 + 250_000
    assert good.receive_time > good.event_time
    assert good.quality is Quality.GOOD
    doubtful = next(sample for sample in tape.samples("a") if sample.value == 142.5)
    assert doubtful.quality is Quality.UNCERTAIN
    assert doubtful.reason == "UncertainSubNormal; 142.5 is outside 0 to 100"
    failed = next(sample for sample in tape.samples("b") if sample.quality is Quality.BAD)
    assert (failed.value, failed.reason) == (None, "BadSensorFailure"), (
        "asyncua's server sends no value with a bad status"
    )
    assert tape.samples("b")[-1].reason == "the value is nan"
    assert "1970" in tape.letters()[0].reason
    assert "s=A" in tape.letters()[0].source
    assert 43.0 not in {sample.value for sample in tape.samples("a")}


def test_connector_when_the_servers_queue_overflows_records_a_gap_before_the_value(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.write("A", 1.0, 0x480)
        tape.until(lambda: len(tape.gaps("overflow")) == 2, "a gap, opened and closed")
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "the value")
    opened, closed = tape.gaps("overflow")
    assert (opened.open, closed.open, opened.point) == (True, False, "a")
    assert opened.receive_time < tape.samples("a")[-1].receive_time
    assert tape.samples("a")[-1].quality is Quality.GOOD


def test_connector_when_a_node_is_missing_only_that_point_is_bad_until_it_appears(tape, running, plant):
    other = {**node("foreign"), "namespace": "urn:test:not-here"}
    with running(connector(settings(plant.url, node("a", "A"), node("later"), other, name="half"))):
        tape.until(lambda: tape.samples("a") and tape.samples("later") and tape.samples("foreign"), "all three")
        tape.until(lambda: state("half") is State.DEGRADED, "the state")
        plant.write("A", 3.0)
        tape.until(lambda: tape.samples("a")[-1].value == 3.0, "the others go on")
        plant.add("later")
        tape.until(lambda: tape.samples("later")[-1].value == 0.0, "the node that has appeared")
    assert "BadNodeIdUnknown" in tape.samples("later")[0].reason
    assert [(s.value, s.quality) for s in tape.samples("foreign")] == [(None, Quality.BAD)]
    assert "no namespace urn:test:not-here" in tape.samples("foreign")[0].reason


def test_connector_when_the_server_restarts_with_other_namespace_numbers_finds_its_nodes(tape, running, free_port):
    first = Plant(free_port, "A")
    with running(connector(settings(first.url, node("a", "A")))):
        with first:
            tape.until(lambda: tape.samples("a"), "the first value")
        tape.until(lambda: len(tape.gaps()) == 3, "a gap for the lost server")
        with Plant(free_port, "A", before=("urn:test:new", "urn:test:newer")) as second:
            second.write("A", 8.0)
            tape.until(lambda: tape.samples("a")[-1].value == 8.0, "the value of the new server")
            tape.until(lambda: len(tape.gaps()) == 4, "the gap is closed")
    assert second.index == first.index + 2
    opened, closed = tape.gaps()[2:]
    assert (opened.open, closed.open, opened.reason) == (True, False, "disconnected")
    assert opened.gap_id == closed.gap_id


def test_connector_when_a_message_is_lost_fetches_it_again(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A"), node("b", "B")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.lose_next_message(for_good=False)
        plant.write("A", 1.0)
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "the value of the lost message")
    assert not tape.gaps("sequence")


def test_connector_when_a_message_is_lost_for_good_records_a_gap_and_begins_anew(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A"), node("b", "B")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.lose_next_message(for_good=True)
        plant.write("A", 1.0)
        tape.until(lambda: len(tape.gaps("sequence")) == 2, "a gap, opened and closed")
        tape.until(lambda: tape.samples("a")[-1].value == 1.0, "the present value, by a new subscription")
    opened, closed = tape.gaps("sequence")
    assert (opened.open, closed.open, opened.count) == (True, False, 1)
    assert opened.gap_id == closed.gap_id


def test_connector_when_the_subscription_falls_silent_begins_anew(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A")))):
        tape.until(lambda: tape.samples("a"), "the first value")
        plant.freeze()
        tape.until(lambda: len(tape.gaps("disconnected")) == 4, "a gap, closed by a new subscription")
    assert "not even a keep-alive" in tape.gaps("disconnected")[2].detail


def test_connector_when_a_deadband_is_set_small_changes_do_not_come(tape, running, plant):
    with running(connector(settings(plant.url, node("a", "A", deadband={"absolute": 5}), node("b", "B")))):
        tape.until(lambda: tape.samples("a") and tape.samples("b"), "the first values")
        plant.write("A", 1.0)
        plant.write("B", 1.0)
        tape.until(lambda: tape.samples("b")[-1].value == 1.0, "the point without deadband")
        plant.write("A", 20.0)
        tape.until(lambda: tape.samples("a")[-1].value == 20.0, "the large change")
    assert [sample.value for sample in tape.samples("a")] == [0.0, 20.0]


class OneUser(UserManager):
    def __init__(self) -> None:
        self.passwords: list[str] = []

    def get_user(self, iserver, username=None, password=None, certificate=None):
        if username is not None:
            self.passwords.append(password)
        return User(UserRole.User, username) if (username, password) == ("reader", "right") else None


def certificate(folder: Path, name: str, address: str, usage: x509.ObjectIdentifier) -> str:
    """A self-signed certificate for 127.0.0.1 or another address; returns its application URI."""
    uri = f"urn:test:{name}"
    key = generate_private_key()
    signed = generate_self_signed_app_certificate(
        key,
        name,
        {},
        [x509.UniformResourceIdentifier(uri), x509.IPAddress(ipaddress.ip_address(address))],
        [usage],
    )
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / f"{name}.key.pem").write_bytes(dump_private_key_as_pem(key))
    return uri


@pytest.mark.parametrize(
    ("trusted", "address", "password", "problem"),
    [
        ("server", "127.0.0.1", "right", None),
        ("stranger", "127.0.0.1", "right", "BadCertificateUntrusted"),
        ("server", "127.0.0.9", "right", "BadCertificateHostNameInvalid"),
        ("server", "127.0.0.1", "wrong", "BadUserAccessDenied"),
    ],
)
def test_connector_when_the_channel_is_secured_only_delivers_from_the_server_it_trusts(
    tape, running, free_port, tmp_path, trusted, address, password, problem
):
    uri = certificate(tmp_path, "server", address, ExtendedKeyUsageOID.SERVER_AUTH)
    certificate(tmp_path, "stranger", "127.0.0.1", ExtendedKeyUsageOID.SERVER_AUTH)
    certificate(tmp_path, "client", "127.0.0.1", ExtendedKeyUsageOID.CLIENT_AUTH)
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "it.pem").write_bytes((tmp_path / f"{trusted}.pem").read_bytes())
    (tmp_path / "password").write_text(f"{password}\n")
    users = OneUser()
    secure = {
        "uri": uri,
        "certificate": tmp_path / "server.pem",
        "key": tmp_path / "server.key.pem",
        "users": users,
    }
    with Plant(free_port, "A", secure=secure) as plant:
        server = settings(
            plant.url,
            node("a", "A"),
            folder=tmp_path,
            security={"certificate": "client.pem", "private_key": "client.key.pem", "trust_folder": "trusted"},
            login={"username": "reader", "password_file": "password"},
        )
        with capture_logs() as logs, running(connector(server)):
            if problem is None:
                tape.until(lambda: tape.samples("a"), "a value through the secured channel")
            else:
                tape.until(lambda: any(problem in entry.get("why", "") for entry in logs), f"the reason {problem}")
    assert bool(tape.samples("a")) is (problem is None)
    if problem and problem.startswith("BadCertificate"):
        assert users.passwords == [], "no password for a server that is not trusted"
    else:
        assert users.passwords[0] == password
