"""Settings of FIX: the session that market data and drop copy share, and the section ``[[fix]]``."""

from __future__ import annotations

import enum
from typing import Annotated, Self

from pydantic import Field, model_validator

from connectors.fields import Credentials, Host, Identified, Name, Port, Tls, refuse_plaintext, seconds
from connectors.market.common import Listed, StateFile, distinct
from connectors.market.fix.outputs import Identity

CompId = Annotated[str, Field(strict=True, min_length=1, max_length=64, pattern=r"^[!-~]+$")]


class FixSession(Credentials, Identified):
    """One FIX 4.4 session, which we open. ``sender`` and ``target``: our CompID (49) and the peer's (56).

    ``store``: the file that keeps the sequence numbers over restarts. ``clock_tolerance``: how far SendingTime (52)
    may be from our clock. ``tls``: transport security; without it only this machine or ``allow_plaintext``.
    """

    name: Name
    host: Host
    port: Port
    tls: Tls | None = None
    allow_plaintext: bool = False
    sender: CompId
    target: CompId
    sender_sub: CompId | None = None
    target_sub: CompId | None = None
    heartbeat: Annotated[int, seconds(least=1, most=600)] = 30_000_000
    clock_tolerance: Annotated[int, seconds(least=1, most=86_400)] = 120_000_000
    backoff_ceiling: Annotated[int, seconds(least=1, most=3600)] = 30_000_000
    store: StateFile

    @model_validator(mode="after")
    def _protected(self) -> Self:
        refuse_plaintext(self.host, encrypted=self.tls is not None, allow_plaintext=self.allow_plaintext)
        if self.heartbeat % 1_000_000:
            raise ValueError("heartbeat must be whole seconds: FIX has no others")
        return self

    def identity(self, *, reset: bool) -> Identity:
        """For the session; reads the password now. Raises OSError or KeyError."""
        return Identity(
            sender=self.sender,
            target=self.target,
            heartbeat=self.heartbeat,
            username=self.username,
            password=self.password(),
            sender_sub=self.sender_sub,
            target_sub=self.target_sub,
            reset=reset,
            clock_tolerance=self.clock_tolerance,
        )


class Update(enum.StrEnum):
    """MDUpdateType (265)."""

    FULL = "full"
    INCREMENTAL = "incremental"


class FixInstrument(Listed):
    """``security_id`` and ``id_source``: SecurityID (48) and SecurityIDSource (22), where the venue wants them."""

    security_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    id_source: Annotated[str, Field(min_length=1, max_length=10)] | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.security_id is None) != (self.id_source is None):
            raise ValueError("security_id and id_source belong together: give both or none")
        return self


class FixConfig(FixSession):
    """Market data over FIX 4.4. ``venue``: as it stands in the ticks.

    ``reset``: both sides count from 1 at each logon. ``market_depth``: MarketDepth (264), 1 is top of book, 0 all.
    ``rpt_seq``: the venue numbers the updates of each instrument in RptSeq (83). ``snapshot_timeout``: how long a
    snapshot may take until it is asked for again.
    """

    venue: Name
    instruments: Annotated[tuple[FixInstrument, ...], Field(min_length=1, max_length=10_000)]
    reset: bool = True
    market_depth: Annotated[int, Field(strict=True, ge=0, le=1000)] = 0
    update: Update = Update.INCREMENTAL
    rpt_seq: bool = False
    snapshot_timeout: Annotated[int, seconds(least=0.5, most=600)] = 10_000_000

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        distinct(self.instruments)
        return self
