"""Settings of WebSocket feeds: the section ``[[websocket]]``, with the mapping of a venue's JSON in words."""

from __future__ import annotations

import enum
import os
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from connectors.fields import Identified, Name, Section, Tls, refuse_plaintext, seconds, spelled
from connectors.market.common import Listed, distinct
from connectors.market.contract.spec import Scope
from connectors.market.values import TimeFormat
from schemas.books import Trading

_STEP = re.compile(r"([A-Za-z_@$][A-Za-z0-9_@$-]*)|\[([0-9]{1,6})\]")


def steps(value: Any) -> Any:
    """``data.b[0]`` to ("data", "b", 0); ``$`` is the whole."""
    if isinstance(value, tuple):
        return value
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("expected a path such as data.bids or [1][0], or $ for the whole")
    if value == "$":
        return ()
    found_steps: list[str | int] = []
    at = 0
    while at < len(value):
        at += value[at] == "." and at > 0
        found = _STEP.match(value, at)
        if found is None:
            raise ValueError(f"is no path from {value[at:]!r} on; expected for example data.bids or [1][0], or $")
        found_steps.append(found[1] if found[1] is not None else int(found[2]))
        at = found.end()
    return tuple(found_steps)


JsonPath = Annotated[tuple[str | int, ...], BeforeValidator(steps)]
"""Where a value stands in a message."""


class Kind(enum.StrEnum):
    """What a message is. ``quote``: the whole top of book each time; ``ignore``: known and of no interest."""

    SNAPSHOT = "snapshot"
    UPDATE = "update"
    QUOTE = "quote"
    TRADE = "trade"
    STATE = "state"
    HEARTBEAT = "heartbeat"
    ERROR = "error"
    IGNORE = "ignore"


class Mapped(Section):
    """One kind of message. ``when``: paths and the values by which it is told; the first that fits is taken.

    Paths: ``symbol``, ``time``, ``sequence`` (the last number that the message covers) and ``first`` (the first, where
    it covers several). ``bids`` and ``asks``: lists of levels, with ``level_price`` and ``level_size`` within one; size
    0 takes a level away. ``items``: a list of changes or trades, within which ``item_side`` (``buy_words`` are bids),
    ``price`` and ``size`` stand. A quote has ``bid``, ``ask`` and their sizes. A state has ``state``, by ``states``.
    """

    kind: Kind
    when: dict[str, str | int | bool]
    symbol: JsonPath | None = None
    time: JsonPath | None = None
    sequence: JsonPath | None = None
    first: JsonPath | None = None
    bids: JsonPath | None = None
    asks: JsonPath | None = None
    level_price: JsonPath = (0,)
    level_size: JsonPath = (1,)
    items: JsonPath | None = None
    item_side: JsonPath | None = None
    buy_words: tuple[str, ...] = ("buy", "BUY", "bid", "Buy", "B")
    price: JsonPath | None = None
    size: JsonPath | None = None
    bid: JsonPath | None = None
    bid_size: JsonPath | None = None
    ask: JsonPath | None = None
    ask_size: JsonPath | None = None
    state: JsonPath | None = None
    states: dict[str, Trading] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for path in self.when:
            steps(path)
        levels = self.bids is not None and self.asks is not None
        needed = {
            Kind.SNAPSHOT: (levels, "bids and asks"),
            Kind.UPDATE: (
                levels or (self.items is not None and self.item_side is not None),
                "bids and asks, or items with item_side",
            ),
            Kind.QUOTE: (self.bid is not None and self.ask is not None, "bid and ask"),
            Kind.TRADE: (self.price is not None, "price"),
            Kind.STATE: (self.state is not None and bool(self.states), "state and states"),
        }
        fine, what = needed.get(self.kind, (True, ""))
        if not fine:
            raise ValueError(f"a message of kind {self.kind.value} needs {what}")
        if self.kind is Kind.UPDATE and self.items is not None and self.price is None:
            raise ValueError("items need price, and size")
        return self


class SnapshotBy(Section):
    """How a snapshot is asked for: by a ``message`` on the connection, or from a ``url`` (GET, answer mapped by the
    kind ``snapshot`` of ``answer``). ``{symbol}`` stands for the venue's symbol. ``every``: least time between two
    requests."""

    message: Annotated[str, Field(max_length=10_000)] | None = None
    url: Annotated[str, Field(max_length=2000), spelled("https?://.*", "https://HOST/PATH, or http://")] | None = None
    answer: Mapped | None = None
    timeout: Annotated[int, seconds(least=0.2, most=120)] = 10_000_000
    every: Annotated[int, seconds(least=0.0, most=60)] = 200_000

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.message is None) == (self.url is None):
            raise ValueError("give message or url, one of them")
        if (self.url is None) != (self.answer is None):
            raise ValueError("url and answer belong together")
        if self.answer is not None and self.answer.kind is not Kind.SNAPSHOT:
            raise ValueError("answer must be of kind snapshot")
        return self


def _header(value: str, info: ValidationInfo) -> str:
    if value not in os.environ:
        raise ValueError(f"names {value}, but that environment variable is not set")
    return value


class WebSocketConfig(Identified):
    """One WebSocket feed. ``subscribe``: messages sent after connecting; with ``{symbol}`` in it, one per instrument,
    with ``{symbols}`` the JSON list of all. ``scope``: what a sequence number counts. ``contiguous`` false: numbers
    only rise, and holes cannot be noticed. ``heartbeat``: a WebSocket ping so often, answered within as long;
    ``silence``: nothing at all for so long ends the connection. ``headers_env``: header to the environment variable
    that holds it. ``snapshot``: how a book is had anew; without it, by connecting again.
    """

    name: Name
    url: Annotated[
        str,
        Field(max_length=2000),
        spelled("wss?://[^/@]+(/.*)?", "wss://HOST/PATH or ws://HOST:PORT/PATH, without a user"),
    ]
    tls: Tls = Tls()
    allow_plaintext: bool = False
    venue: Name
    instruments: Annotated[tuple[Listed, ...], Field(min_length=1, max_length=10_000)]
    subscribe: tuple[Annotated[str, Field(max_length=100_000)], ...] = ()
    headers_env: dict[str, Annotated[str, AfterValidator(_header)]] = Field(default_factory=dict)
    messages: Annotated[tuple[Mapped, ...], Field(min_length=1, max_length=100)]
    batched: bool = False
    snapshot: SnapshotBy | None = None
    time_format: TimeFormat = TimeFormat.MILLIS
    scope: Scope = Scope.INSTRUMENT
    contiguous: bool = True
    heartbeat: Annotated[int, seconds(least=1, most=600)] = 20_000_000
    silence: Annotated[int, seconds(least=1, most=3600)] = 60_000_000
    clock_tolerance: Annotated[int, seconds(least=0.1, most=3600)] = 10_000_000
    backoff_ceiling: Annotated[int, seconds(least=0.5, most=3600)] = 30_000_000
    max_message: Annotated[int, Field(strict=True, ge=1024, le=1 << 26)] = 1 << 22
    compression: Literal["deflate"] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        distinct(self.instruments)
        for url in (self.url, self.snapshot.url if self.snapshot and self.snapshot.url else ""):
            parts = urlsplit(url)
            if parts.hostname:
                encrypted = parts.scheme in ("wss", "https")
                refuse_plaintext(parts.hostname, encrypted=encrypted, allow_plaintext=self.allow_plaintext)
        return self
