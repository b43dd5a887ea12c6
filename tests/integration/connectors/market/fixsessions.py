"""What tests of FIX against quickfix share: settings of both kinds of sessions, and what the venue tells in them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from connectors.market.dropcopy.config import DropCopyConfig
from connectors.market.dropcopy.connector import DropCopyConnector
from connectors.market.fix.config import FixConfig
from connectors.market.fix.connector import FixConnector
from connectors.publisher import Publisher
from schemas.fills import Fill
from streams.engine.cluster import Cluster
from tests.integration.connectors.market.fixpeer import Peer
from tests.integration.connectors.running import running as run_connector

SESSION = {"host": "127.0.0.1", "sender": "HOUSE", "target": "VENUE", "venue": "X", "backoff_ceiling": 1}


def market(folder: Path, port: int, **given: object) -> FixConfig:
    instruments = [{"instrument": "HENRY-HUB", "symbol": "NG", "depth": 2, "depth_interval": 0}]
    settings = {**SESSION, "name": "venue", "port": port, "store": folder / "venue.db", "instruments": instruments}
    return FixConfig.model_validate({**settings, **given}, context={"folder": folder})


def drop_copy(folder: Path, port: int, **given: object) -> DropCopyConfig:
    instruments = [{"instrument": "HENRY-HUB", "symbol": "NG", "currency": "USD", "contract_size": "10000"}]
    accounts = [{"account": "A1", "book": "gas-desk"}]
    settings = {**SESSION, "name": "house", "port": port, "store": folder / "house.db"}
    settings |= {"accounts": accounts, "instruments": instruments}
    return DropCopyConfig.model_validate({**settings, **given}, context={"folder": folder})


def running(
    cluster: Cluster, settings: FixConfig | DropCopyConfig, *, patience: float = 3.0, **bounds: int
) -> AbstractContextManager[None]:
    """A connector with this one session while the block lasts.

    ``patience``: how long records that wait for Kafka are waited for at the end.
    """
    publisher = Publisher(cluster, "fix", **bounds)
    if isinstance(settings, FixConfig):
        return run_connector(partial(FixConnector, [settings]), publisher, patience=patience)
    return run_connector(partial(DropCopyConnector, [settings]), publisher, patience=patience)


def report(
    peer: Peer,
    number: int,
    *,
    kind: str = "F",
    reference: str = "",
    quantity: str = "2",
    price: str = "3.5",
    account: str = "A1",
    again: bool = False,
) -> None:
    """An ExecutionReport of execution ``E<number>``."""
    fields = [(37, "O1"), (17, f"E{number}"), (150, kind), (39, "1"), (1, account), (55, "NG"), (54, "1")]
    fields += [(19, reference)] if reference else []
    fields += [(32, quantity), (31, price), (60, "20261120-10:00:00.000"), (75, "20261120")]
    fields += [(151, "0"), (14, "2"), (6, "3.5")]
    fields += [(97, "Y")] if again else []
    peer.send("8", *fields)


def reported(numbers: Iterable[int]) -> list[str]:
    """The ids of the fills of these executions."""
    return [f"house/20261120/E{number}/buy" for number in numbers]


def distinct(fills: list[Fill]) -> dict[str, Fill]:
    """By their ids, in the order in which they came first."""
    return {fill.fill_id: fill for fill in fills}


def subscriptions(peer: Peer) -> list[str]:
    """The ids of the subscriptions that came, in their order."""
    return [one["262"] for one in list(peer.requests) if one["35"] == "V" and one["263"] == "1"]


def snapshot(peer: Peer, bid: str, ask: str) -> None:
    """Answer the newest subscription."""
    sides = [[(269, "0"), (270, bid), (271, "5")], [(269, "1"), (270, ask), (271, "4")]]
    peer.send("W", (262, subscriptions(peer)[-1]), (55, "NG"), groups=(268, 269, sides))


def best_bid(peer: Peer, bid: str) -> None:
    """A better bid, in the newest subscription."""
    entry = [(279, "0"), (269, "0"), (55, "NG"), (270, bid), (271, "1")]
    peer.send("X", (262, subscriptions(peer)[-1]), groups=(268, 279, [entry]))
