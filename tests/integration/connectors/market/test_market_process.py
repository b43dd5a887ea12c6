"""The market's connectors in a process of their own: what can only be done to a process is done to it."""

from __future__ import annotations

import resource

import pytest

from schemas.devices import Device
from schemas.fills import Fill
from schemas.ticks import Tick
from tests.conftest import wait_until

pytest.importorskip("quickfix", reason="quickfix is not installed: make quickfix compiles it")
from tests.integration.connectors.market.fixpeer import Peer
from tests.integration.connectors.market.fixsessions import distinct, report, reported

SETTINGS = """
[[websocket]]
name = "ws"
url = "ws://127.0.0.1:{ws}/"
venue = "X"
backoff_ceiling = 0.5
subscribe = ["symbols"]
instruments = [{{ instrument = "HENRY-HUB", symbol = "NG" }}]
[websocket.snapshot]
url = "http://127.0.0.1:{http}/"
answer = {{ kind = "snapshot", when = {{}}, bids = "bids", asks = "asks", sequence = "seq" }}
[[websocket.messages]]
kind = "update"
when = {{ type = "book" }}
symbol = "data.sym"
sequence = "data.to"
bids = "data.b"
asks = "data.a"

[[drop_copy]]
name = "house"
host = "127.0.0.1"
port = {fix}
sender = "HOUSE"
target = "VENUE"
store = "house.db"
venue = "X"
backoff_ceiling = 1
accounts = [{{ account = "A1", book = "gas-desk" }}]
instruments = [{{ instrument = "HENRY-HUB", symbol = "NG", currency = "USD", contract_size = "10000" }}]
"""


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits the files of another process")
def test_market_when_the_disk_is_full_or_the_process_is_killed_fills_are_asked_for_again_and_books_are_unknown(
    cluster, records, exchange, tmp_path, free_port, process
):
    text = SETTINGS.format(ws=exchange.port, http=exchange.http.server_address[1], fix=free_port)

    def moves() -> None:
        """The WebSocket feed is alive."""
        exchange.send(exchange.change())
        records.until(lambda: records.ticks()[-1].bid == exchange.best, "a change of the book")

    def books(numbers: range) -> None:
        records.until(lambda: set(reported(numbers)) <= set(distinct(records.of(Fill))), f"the fills {numbers}")

    def unknown() -> list[bool]:
        return [is_open for key, is_open in records.gaps("disconnected") if key == "HENRY-HUB"]

    def unusable() -> bool:
        return any(f"{tmp_path / 'house.db'} cannot be used" in one.reason for one in records.of(Device))

    with Peer(tmp_path / "peer", free_port) as peer:
        with process(text, cluster.bootstrap, prefix=cluster.prefix) as first:
            records.until(lambda: peer.on.is_set() and records.ticks(), "the first snapshot")
            for number in range(10):
                report(peer, number)
            books(range(10))
            # The kernel refuses to let any file grow beyond what the largest has: the disk takes no more.
            _, most = resource.prlimit(first.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(first.pid, resource.RLIMIT_FSIZE, ((tmp_path / "house.db-wal").stat().st_size, most))
            for number in range(10, 20):
                report(peer, number)
            records.until(unusable, "the file in the status")
            moves()
            assert peer.logons == 1, "something was sent under a number that could not be kept"
            resource.prlimit(first.pid, resource.RLIMIT_FSIZE, (most, most))
            wait_until(lambda: peer.logons == 2)
            for number in range(20, 30):
                report(peer, number)
            books(range(21))
        exchange.change()  # while nobody listens
        with process(text, cluster.bootstrap, prefix=cluster.prefix):
            books(range(30))
            records.until(lambda: records.ticks()[-1].bid == exchange.best, "the snapshot after the kill")
            moves()
            records.until(lambda: unknown() == [True, False] * 2, "the gap of each start, closed")
    fills = records.of(Fill)
    assert list(distinct(fills)) == reported(range(30)), "in their order"
    assert len({(fill.fill_id, fill.quantity, fill.price) for fill in fills}) == 30, "what came again is the same"
    kept = zip(records.ids, records.all, strict=True)
    ids = [identity for identity, record in kept if isinstance(record, Tick)]
    assert len(set(ids)) == len(ids), "an id came twice"
