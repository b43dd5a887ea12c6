"""The drop copy against quickfix, on a real Kafka: what is booked survives everything that is done to the session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from connectors.market.dropcopy.config import DropCopyConfig
from connectors.market.dropcopy.connector import DropCopyConnector
from connectors.publisher import Publisher
from processors.holdings import FLAT, book
from schemas import topics
from schemas.base import Coordinates
from schemas.fills import Fill
from schemas.gaps import Gap
from streams.engine.cluster import Cluster
from tests.conftest import wait_until

pytest.importorskip("quickfix", reason="quickfix is not installed (pip install quickfix; it is compiled)")
from tests.integration.connectors.market.fixpeer import Peer

AT = Coordinates(topic="fills", partition=0, offset=0)


def config(folder: Path, port: int, **given: object) -> DropCopyConfig:
    return DropCopyConfig.model_validate(
        {
            "name": "house",
            "host": "127.0.0.1",
            "port": port,
            "sender": "HOUSE",
            "target": "VENUE",
            "store": folder / "house.db",
            "venue": "X",
            "backoff_ceiling": 1,
            "accounts": [{"account": "A1", "book": "gas-desk"}],
            "instruments": [
                {"instrument": "HENRY-HUB", "symbol": "NG", "currency": "USD", "contract_size": "10000"},
            ],
            **given,
        },
        context={"folder": folder},
    )


@contextmanager
def running(cluster: Cluster, settings: DropCopyConfig) -> Iterator[None]:
    publisher, stop = Publisher(cluster, "drop-copy"), threading.Event()
    thread = threading.Thread(target=DropCopyConnector([settings], publisher).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        publisher.close()
    assert not thread.is_alive()


class Log:
    """All records of a topic, as they come."""

    def __init__(self, cluster: Cluster, *wanted: topics.Topic) -> None:
        self._decode = {cluster.named(topic.name): topic.decode for topic in wanted}
        self._consumer = cluster.reader("look")
        self._consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for name in self._decode for p in range(4)])
        self.records: list = []

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def of(self, kind: type) -> list:
        self.records += [self._decode[m.topic()](m.value()) for m in self._consumer.consume(500, 0.05)]
        return [record for record in self.records if isinstance(record, kind)]


def report(
    peer: Peer,
    number: int,
    *,
    kind: str = "F",
    reference: str = "",
    quantity: str = "2",
    price: str = "3.5",
    **more: str,
) -> None:
    fields = [
        (37, "O1"),
        (17, f"E{number}"),
        (150, kind),
        (39, "1"),
        (1, more.get("account", "A1")),
        (55, "NG"),
        (54, "1"),
    ]
    fields += [(19, reference)] if reference else []
    fields += [
        (32, quantity),
        (31, price),
        (60, "20261120-10:00:00.000"),
        (75, "20261120"),
        (151, "0"),
        (14, "2"),
        (6, "3.5"),
    ]
    fields += [(97, "Y")] if more.get("again") else []
    peer.send("8", *fields)


def distinct(fills: list[Fill]) -> dict[str, Fill]:
    return {fill.fill_id: fill for fill in fills}


def quantity(fills: list[Fill]) -> Decimal:
    held = FLAT
    for fill in distinct(fills).values():
        held = book(held, fill, AT)
    return held.quantity


def test_drop_copy_when_restarted_gets_what_it_missed_exactly_once(cluster, tmp_path, free_port):
    settings = config(tmp_path, free_port)
    with Peer(tmp_path / "peer", free_port) as peer, Log(cluster, topics.fills, topics.gaps) as log:
        with running(cluster, settings):
            wait_until(peer.on.is_set)
            for number in range(5):
                report(peer, number)
            wait_until(lambda: len(log.of(Fill)) == 5)
        for number in range(5, 10):  # while nobody listens
            report(peer, number)
        with running(cluster, settings):
            wait_until(lambda: len(distinct(log.of(Fill))) == 10)
            report(peer, 3, again="Y")
            report(peer, 10)
            wait_until(lambda: "house/20261120/E10/buy" in distinct(log.of(Fill)))
        fills = log.of(Fill)
        assert len(fills) == 11, "a report that counted as taken was published again"
        assert [fill.fill_id for fill in fills] == [f"house/20261120/E{n}/buy" for n in range(11)]
        assert quantity(fills) == 220_000
        assert {fill.book for fill in fills} == {"gas-desk"}
        wait_until(lambda: {gap.open for gap in log.of(Gap) if gap.feed == "fills"} == {True, False})


def test_drop_copy_when_the_venue_restarts_goes_on_where_it_was(cluster, tmp_path, free_port):
    settings = config(tmp_path, free_port)
    with Log(cluster, topics.fills) as log, running(cluster, settings):
        for first in (0, 3):
            with Peer(tmp_path / "peer", free_port) as peer:
                wait_until(peer.on.is_set)
                for number in range(first, first + 3):
                    report(peer, number)
                wait_until(lambda least=first + 3: len(log.of(Fill)) >= least)
        assert [fill.fill_id[-6:] for fill in log.of(Fill)] == [f"E{n}/buy" for n in range(6)]


def test_drop_copy_when_trades_are_corrected_and_cancelled_ends_right(cluster, tmp_path, free_port):
    settings = config(tmp_path, free_port)
    with Peer(tmp_path / "peer", free_port) as peer, Log(cluster, topics.fills, topics.dead_letters) as log:
        with running(cluster, settings):
            wait_until(peer.on.is_set)
            report(peer, 1, quantity="2")
            report(peer, 2, quantity="5")
            report(peer, 3, kind="G", reference="E1", quantity="3", price="3.6")
            report(peer, 4, kind="H", reference="E2")
            report(peer, 5, kind="H", reference="E99")  # never seen
            report(peer, 6, account="unknown")
            report(peer, 7, quantity="1")
            wait_until(lambda: "house/20261120/E7/buy" in distinct(log.of(Fill)))
        assert quantity(log.of(Fill)) == 40_000
        letters = [one for one in log.records if one.__class__.__name__ == "DeadLetter"]
        assert [
            text in one.reason for one, text in zip(letters, ["never booked", "belongs to no book"], strict=True)
        ] == [True, True]
