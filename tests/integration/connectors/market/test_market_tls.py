"""Market sessions within TLS: what is wrong with a certificate is said by name and date, and renewed files are used."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from connectors import tls
from connectors.capture.rehearsal import Notebook
from connectors.connector import Connector
from connectors.market.fix.connector import FixConnector
from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.connector import WebSocketConnector
from connectors.outlet import Outlet
from schemas.devices import DeviceState
from streams.local.service import free_port
from tests.authority import NOW, Authority
from tests.conftest import wait_until
from tests.integration.connectors.market.fixpeer import Peer
from tests.integration.connectors.market.fixsessions import market

Venue = tuple[Callable[[Outlet], Connector], Callable[[], int]]
"""What makes the connector that connects to it, and how many connections it has had."""
Venues = Callable[[ssl.SSLContext, Path, Path], AbstractContextManager[Venue]]
COMMON = {"name": "venue", "venue": "X", "backoff_ceiling": 0.5, "instruments": [{"instrument": "NG"}]}


@contextmanager
def within_tls(context: ssl.SSLContext, port: int) -> Iterator[int]:
    """A port that ends TLS before ``port``, as venues do: the wheel of quickfix is built without."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ports: list[int] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def serve() -> None:
        server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        with suppress(asyncio.CancelledError):
            await server.serve_forever()

    task = loop.create_task(serve())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        loop.close()


@contextmanager
def fix(context: ssl.SSLContext, ca_file: Path, folder: Path) -> Iterator[Venue]:
    port = free_port()
    with Peer(folder / "peer", port) as peer, within_tls(context, port) as outer:
        config = market(folder, outer, tls={"ca_file": ca_file})
        yield lambda outlet: FixConnector([config], outlet), lambda: peer.logons


@contextmanager
def websocket(context: ssl.SSLContext, ca_file: Path, folder: Path) -> Iterator[Venue]:
    connections = []

    def serves(connection: ServerConnection) -> None:
        connections.append(connection)
        with suppress(ConnectionClosed):
            connection.recv()

    with serve(serves, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"wss://127.0.0.1:{server.socket.getsockname()[1]}/"
        messages = [{"kind": "ignore", "when": {}}]
        config = WebSocketConfig.model_validate(
            {**COMMON, "url": url, "messages": messages, "tls": {"ca_file": ca_file}}
        )
        try:
            yield lambda outlet: WebSocketConnector([config], outlet), lambda: len(connections)
        finally:
            server.shutdown()
            thread.join(5)


NO_QUICKFIX = pytest.mark.skipif(
    importlib.util.find_spec("quickfix") is None,
    reason="quickfix is not installed: make quickfix compiles it",
)
VENUES = [pytest.param(fix, marks=NO_QUICKFIX), websocket]


@contextmanager
def running(make: Callable[[Outlet], Connector]) -> Iterator[Notebook]:
    notebook, stop = Notebook(), threading.Event()
    thread = threading.Thread(target=make(notebook).run, args=(stop,))
    thread.start()
    try:
        yield notebook
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def is_in(notebook: Notebook, state: DeviceState) -> bool:
    return "venue" in notebook.devices and notebook.devices["venue"].state is state


@pytest.mark.parametrize("venue", VENUES)
def test_market_when_the_venues_certificate_has_expired_says_so_and_goes_on_once_it_is_renewed(
    venue: Venues, authority, tmp_path
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("venue", start=-3, end=-1))
    with venue(context, authority.file, tmp_path) as (make, _), running(make) as notebook:
        wait_until(lambda: is_in(notebook, DeviceState.DOWN))
        said = notebook.devices["venue"].reason
        assert "has expired (CN=venue, for 127.0.0.1; from CN=Plant CA; valid " in said
        assert f"to {NOW - timedelta(days=1):%Y-%m-%d}" in said
        context.load_cert_chain(*authority.issue("venue"))
        wait_until(lambda: is_in(notebook, DeviceState.LIVE))


@pytest.mark.parametrize("venue", VENUES)
def test_market_when_our_files_are_renewed_connects_anew_to_use_them(venue: Venues, authority, tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("venue"))
    with venue(context, authority.file, tmp_path) as (make, connections), running(make) as notebook:
        wait_until(lambda: is_in(notebook, DeviceState.LIVE))
        other = Authority(tmp_path, "Other CA")
        authority.file.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
        wait_until(lambda: connections() == 2 and is_in(notebook, DeviceState.LIVE))
