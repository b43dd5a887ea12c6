"""A Kafka that freezes under running feeds, for longer than their heartbeats and than FIX believes a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from schemas.fills import Fill
from schemas.gaps import Gap
from streams.engine.cluster import Cluster
from streams.local.kafka import Kafka
from streams.local.service import free_port, is_free
from tests.conftest import wait_until
from tests.integration.connectors.conftest import frozen
from tests.integration.connectors.market import fixsessions, websocketfeeds
from tests.integration.connectors.market.conftest import Records
from tests.integration.connectors.market.exchange import Exchange

pytest.importorskip("quickfix", reason="quickfix is not installed: make quickfix compiles it")
from tests.integration.connectors.market.fixpeer import Peer

IMPATIENT = {"socket.timeout.ms": 1000, "request.timeout.ms": 1000}
"""Requests that a frozen Kafka does not answer are given up and sent again within the test."""
FIX = {"heartbeat": 1, "clock_tolerance": 2}
BATCH = 10


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="module")
def kafka(broker: Kafka) -> str:
    """Not the one that the tests share: those beside this one would stand still as well."""
    return broker.address


class Feeds:
    """A drop copy, FIX market data, and two WebSocket feeds: one has room in memory, the other soon stops reading."""

    def __init__(self, stack: ExitStack, cluster: Cluster, folder: Path) -> None:
        self.impatient = impatient = Cluster(cluster.bootstrap, IMPATIENT, prefix=cluster.prefix)
        ports = free_port(), free_port()
        self.trades, self.quotes = (stack.enter_context(Peer(folder / f"peer{port}", port)) for port in ports)
        wait_until(lambda: not any(map(is_free, ports)))  # a second's wait for the next attempt is spared
        self.house = fixsessions.drop_copy(folder, ports[0], **FIX)
        self.roomy, self.narrow = Exchange(), Exchange()
        for exchange in (self.roomy, self.narrow):
            stack.callback(exchange.close)
        self.connectors = stack.enter_context(ExitStack())
        run = self.connectors.enter_context
        hasty = {"patience": 0.0}
        bounds = {**hasty, "max_outstanding": 5}
        run(fixsessions.running(impatient, self.house, **bounds))
        run(fixsessions.running(impatient, fixsessions.market(folder, ports[1], **FIX), **bounds))
        for name, exchange, bound in (("ROOMY", self.roomy, hasty), ("NARROW", self.narrow, bounds)):
            listed = [{"instrument": name, "symbol": "NG"}]
            feed = websocketfeeds.config(exchange, name=name.lower(), instruments=listed, heartbeat=1)
            run(websocketfeeds.running(impatient, feed, **bound))
        wait_until(lambda: self.trades.on.is_set() and bool(fixsessions.subscriptions(self.quotes)))
        fixsessions.snapshot(self.quotes, "1", "9999")
        self.told = 0

    def tell(self) -> None:
        """Some fills, as many changes of each book, and of the narrow feed's more than its library holds unread."""
        for number in range(self.told, self.told + BATCH):
            fixsessions.report(self.trades, number)
            fixsessions.best_bid(self.quotes, str(number + 2))
            self.roomy.send(self.roomy.change())
        with suppress(ConnectionClosed):
            self.narrow.send(*(self.narrow.change() for _ in range(10 * BATCH)))
        self.told += BATCH

    def heartbeats(self) -> int:
        """So many have come of each FIX session."""
        return min(sum(one["35"] == "0" for one in list(peer.admin)) for peer in (self.trades, self.quotes))


def bids(records: Records, instrument: str) -> list[float]:
    return [tick.bid for tick in records.ticks() if tick.instrument == instrument]


def test_market_when_a_connected_kafka_freezes_no_change_is_missing_untold_and_each_fill_comes_once(
    broker, cluster, records, tmp_path
):
    with ExitStack() as stack:
        feeds = Feeds(stack, cluster, tmp_path)
        for name in ("ROOMY", "NARROW", "HENRY-HUB"):
            records.until(lambda name=name: bids(records, name), f"the snapshot of {name}")
        with frozen(broker):
            before = feeds.heartbeats()
            for count in range(4):  # nobody reads from the first on: the others are too old at the end to be believed
                wait_until(lambda least=before + count: feeds.heartbeats() >= least)
                feeds.tell()
            wait_until(lambda: feeds.heartbeats() >= before + 4)
            wait_until(lambda: feeds.narrow.connections[0].close_code is not None)  # nobody read the answer to a ping
        records.until(lambda: len(records.of(Fill)) >= feeds.told, "every fill")
        records.until(lambda: bids(records, "HENRY-HUB")[-1] == feeds.told + 1, "the last bid")
        for name, exchange in (("ROOMY", feeds.roomy), ("NARROW", feeds.narrow)):
            records.until(lambda name=name, of=exchange: bids(records, name)[-1] == of.best, f"the last of {name}")
        assert (feeds.trades.logons, feeds.quotes.logons) == (1, 1), "the venue was blamed for silence or for its clock"
        assert len(feeds.roomy.connections) == 1
        of_start_and_end = [True, False, True, False]
        records.until(
            lambda: [is_open for name, is_open in records.gaps("disconnected") if name == "NARROW"] == of_start_and_end,
            "a new snapshot after the connection that nobody read",
        )
        with frozen(broker):  # told to stop now, all stop
            feeds.tell()
            feeds.connectors.close()
        with fixsessions.running(feeds.impatient, feeds.house):
            every = fixsessions.reported(range(feeds.told))
            records.until(lambda: [*fixsessions.distinct(records.of(Fill))] == every, "what was not counted as taken")
    first = [fill.fill_id for fill in records.of(Fill)][: feeds.told - BATCH]
    assert first == fixsessions.reported(range(feeds.told - BATCH)), "each once, in order"
    assert bids(records, "HENRY-HUB")[: feeds.told - BATCH + 1] == [float(n + 1) for n in range(feeds.told - BATCH + 1)]
    assert bids(records, "ROOMY")[: feeds.told - BATCH + 1] == [10 + n / 2 for n in range(feeds.told - BATCH + 1)]
    gaps = [gap for gap in records.of(Gap) if gap.open and gap.key == "NARROW"]
    assert "was not read, because too much waits for Kafka" in gaps[1].detail
    lost = [gap.receive_time for gap in gaps]
    for one, other in pairwise(tick for tick in records.ticks() if tick.instrument == "NARROW"):
        told = any(one.receive_time < time < other.receive_time for time in lost)
        assert other.bid == one.bid + 0.5 or told, "what was not read lies in a gap"
