"""Exposure per book and currency, and how far each limit is used."""

from __future__ import annotations

import enum

from schemas.base import Count, Currency, Identifier, Micros, Record, Value
from schemas.limits import Measure


class LimitState(enum.StrEnum):
    """Where a measure stands against its limit. ``unknown``: a mark behind it cannot be trusted."""

    WITHIN = "within"
    SOFT = "soft"
    HARD = "hard"
    UNKNOWN = "unknown"


class LimitUse(Record, frozen=True, kw_only=True):
    """One limit's use. ``used`` is in the limit's currency, null while unknown."""

    limit_id: Identifier
    version: Count
    measure: Measure
    instrument: Identifier | None
    used: Value | None
    soft: Value
    hard: Value
    state: LimitState


class Exposure(Record, frozen=True, kw_only=True):
    """What a book has at stake in one currency. Keyed by book and currency, partitioned by book.

    Values are null while any position with a quantity has no live mark: an unknown exposure never looks like a small
    one. ``unknown`` lists the instruments that cause it. ``gross`` is the sum of absolute market values, ``net`` the
    signed sum (long is positive), ``positions`` how many have a quantity. ``limits`` are the active ones in this
    currency; a limit's ``state`` stays soft or hard until its breach has closed.
    """

    book: Identifier
    currency: Currency
    gross: Value | None
    net: Value | None
    unrealised_pnl: Value | None
    realised_pnl: Value
    fees: Value
    positions: Count
    unknown: list[str]
    limits: list[LimitUse]
    event_time: Micros
    receive_time: Micros
