"""Market sessions within TLS: what is wrong with a certificate is said by name and date, and renewed files are used."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from connectors import tls
from connectors.capture.rehearsal import Notebook
from connectors.connector import Connector
from connectors.market.fix.config import FixConfig
from connectors.market.fix.connector import FixConnector
from connectors.market.websocket.config import WebSocketConfig
from connectors.market.websocket.connector import WebSocketConnector
from connectors.outlet import Outlet
from schemas.devices import DeviceState
from tests.authority import NOW, Authority
from tests.conftest import wait_until
from tests.integration.connectors.market.conftest import BadVenue

Venue = tuple[Callable[[Outlet], Connector], Callable[[], int]]
"""What makes the connector that connects to it, and how many connections it has had."""
Venues = Callable[[ssl.SSLContext, Path, Path], AbstractContextManager[Venue]]
COMMON = {"name": "venue", "venue": "X", "backoff_ceiling": 0.5, "instruments": [{"instrument": "NG"}]}


@contextmanager
def fix(context: ssl.SSLContext, ca_file: Path, folder: Path) -> Iterator[Venue]:
    venue = BadVenue(context)
    session = {"host": "127.0.0.1", "port": venue.port, "sender": "HOUSE", "target": "VENUE", "store": folder / "n.db"}
    config = FixConfig.model_validate({**COMMON, **session, "backoff_ceiling": 1, "tls": {"ca_file": ca_file}})
    try:
        yield lambda outlet: FixConnector([config], outlet), lambda: venue.connections
    finally:
        venue.close()


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


@pytest.mark.parametrize("venue", [fix, websocket])
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


@pytest.mark.parametrize("venue", [fix, websocket])
def test_market_when_our_files_are_renewed_connects_anew_to_use_them(venue: Venues, authority, tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("venue"))
    with venue(context, authority.file, tmp_path) as (make, connections), running(make) as notebook:
        wait_until(lambda: is_in(notebook, DeviceState.LIVE))
        other = Authority(tmp_path, "Other CA")
        authority.file.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
        wait_until(lambda: connections() == 2 and is_in(notebook, DeviceState.LIVE))
