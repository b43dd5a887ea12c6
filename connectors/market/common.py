"""Settings that all market connections share: instruments, addresses, files that keep a state."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

from connectors.fields import Identified, Name, Number, Section, seconds
from connectors.lifecycle import Profile
from connectors.market.contract.hours import hours_of
from connectors.market.contract.spec import Content, Spec
from connectors.network import in_words
from connectors.tls import TlsFiles
from schemas.devices import DevicePoint


def _calendar(code: str) -> str:
    try:
        hours_of(code)
    except ImportError as error:
        raise ValueError(
            f"calendars need a library ({error}); install it with: pip install 'gridtape[market]'"
        ) from error
    return code


def _state_file(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", Path()), path.expanduser())


StateFile = Annotated[Path, AfterValidator(_state_file)]
"""A file that the connector writes; a relative path starts at the folder of the settings file."""


class Listed(Section):
    """One instrument of a venue. ``symbol``: what the venue calls it (default: as ours).

    ``lot``: one unit of a tick's ``size`` in the venue's quantity. ``stale_after``: while the ``calendar``'s market
    trades, nothing for so long is a silence. ``depth``: levels per side on the topic ``books``, at most every
    ``depth_interval``. ``content``: ``book`` or ``trades``.
    """

    instrument: Name
    symbol: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    content: Content = Content.BOOK
    lot: Annotated[Number, Field(gt=0)] = 1.0
    stale_after: Annotated[int, seconds(least=0.1)] | None = None
    calendar: Annotated[str, AfterValidator(_calendar)] = "24/7"
    depth: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    depth_interval: Annotated[int, seconds(least=0.0, most=60)] = 100_000

    @property
    def called(self) -> str:
        """The venue's name of it."""
        return self.symbol or self.instrument

    def spec(self, venue: str, clock_tolerance: int) -> Spec:
        """For the feed contract."""
        return Spec(
            instrument=self.instrument,
            venue=venue,
            content=self.content,
            lot=self.lot,
            stale_after=self.stale_after,
            hours=hours_of(self.calendar),
            clock_tolerance=clock_tolerance,
            depth=self.depth,
            depth_interval=self.depth_interval,
        )


def distinct(listed: tuple[Any, ...]) -> None:
    """Raise ValueError when an instrument or a symbol is named twice."""
    for what in ("instrument", "called"):
        names = [getattr(one, what) for one in listed]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            word = "instruments" if what == "instrument" else "symbols"
            raise ValueError(f"{word} named twice: {', '.join(twice)}; every one once")


def profile(name: str, protocol: str, where: Identified, instruments: list[str]) -> Profile:
    """What is told of a connection on ``devices``; its points are the instruments."""
    points = tuple(DevicePoint(point=instrument, unit="1") for instrument in instruments)
    return Profile(name, protocol, where.site, where.asset, where.book, points)


async def explained(tls: TlsFiles | None, error: Exception, port: int) -> str:
    """Why a connection failed, with certificates by name and date; the server is asked for its own beside the loop."""
    if tls is None or not isinstance(error, ssl.SSLError):
        return in_words(error)
    return await asyncio.to_thread(tls.explained, error, port)
