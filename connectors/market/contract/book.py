"""Builds one instrument's book from a snapshot and changes. Pure.

Own code: the kept order book libraries match orders, or hold one venue's format; what is needed here is two sorted
lists that refuse what cannot be true.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from connectors.market.contract.events import Bad, Quoted, Side
from schemas.books import Level

MOST_ENTRIES = 100_000
"""Levels or orders of one book; a venue that sends more is broken or hostile."""


class _Levels:
    """One side: prices ascending, and at each the sizes by order id (one under ``""`` where levels are sent)."""

    def __init__(self) -> None:
        self.prices: list[float] = []
        self.sizes: dict[float, dict[str, float]] = {}

    def put(self, price: float, entry: str, size: float) -> None:
        at = self.sizes.get(price)
        if at is None:
            insort(self.prices, price)
            at = self.sizes[price] = {}
        at[entry] = size

    def take(self, price: float, entry: str) -> None:
        at = self.sizes.get(price)
        if at is None or at.pop(entry, None) is None:
            return
        if not at:
            del self.sizes[price]
            del self.prices[bisect_left(self.prices, price)]

    def level(self, price: float) -> Level:
        return Level(price=price, size=sum(self.sizes[price].values()))


class OrderBook:
    """Two sides. A level is told by its price, or, where changes carry an ``entry``, made up of orders."""

    def __init__(self) -> None:
        self._bids, self._asks = _Levels(), _Levels()
        self._orders: dict[str, tuple[Side, float]] = {}

    def replace(self, levels: Iterable[Quoted]) -> None:
        """Forget everything and take ``levels``. Raises Bad; the book is empty then."""
        self.clear()
        try:
            self.apply(levels)
        except Bad:
            self.clear()
            raise

    def clear(self) -> None:
        """Forget everything."""
        self._bids, self._asks = _Levels(), _Levels()
        self._orders = {}

    def apply(self, changes: Iterable[Quoted]) -> None:
        """Take changes in order. A level that is taken away and is not there is let pass: venues do that at the edge
        of their depth. Raises Bad for a change of an unknown order, a level without price, or too many entries."""
        bids, asks = self._bids, self._asks
        for change in changes:
            side, price, size, entry = change
            levels = bids if side is Side.BID else asks
            if entry:
                self._order(change)
            elif price is None:
                raise Bad("a level without a price")
            elif size:
                levels.put(price, "", size)
            else:
                levels.take(price, "")
        if len(bids.prices) > MOST_ENTRIES or len(asks.prices) > MOST_ENTRIES or len(self._orders) > MOST_ENTRIES:
            raise Bad(f"more than {MOST_ENTRIES} entries in one book")

    def _side(self, side: Side) -> _Levels:
        return self._bids if side is Side.BID else self._asks

    def _order(self, change: Quoted) -> None:
        before = self._orders.get(change.entry)
        price = change.price
        if before is None and (price is None or not change.size):
            raise Bad(f"the order {change.entry!r:.80} is changed but was never entered")
        if before is not None:
            side, old = before
            price = old if price is None else price
            self._side(side).take(old, change.entry)
            del self._orders[change.entry]
        if change.size and price is not None:
            self._side(change.side).put(price, change.entry, change.size)
            self._orders[change.entry] = (change.side, price)

    @property
    def bid(self) -> float | None:
        """The highest bid."""
        prices = self._bids.prices
        return prices[-1] if prices else None

    @property
    def ask(self) -> float | None:
        """The lowest ask."""
        prices = self._asks.prices
        return prices[0] if prices else None

    def best(self, side: Side, count: int) -> list[Level]:
        """At most ``count`` levels from the best outwards."""
        levels = self._side(side)
        ordered = reversed(levels.prices) if side is Side.BID else iter(levels.prices)
        return [levels.level(price) for price in islice(ordered, count)]
