"""What is told of one server's events over any number of sessions: numbered, without repeats, and what is missing."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import structs

from connectors import clock
from connectors.device import DeviceFeed
from connectors.feed import FeedTracker, identifier
from schemas.events import Event
from schemas.gaps import Feed

_REMEMBERED = 10_000  # ids of events; a repeat of an older one has its old ``ce_id``


class EventFeed:
    """Lives as long as its device. It starts with an open gap: what the server's conditions are is not known yet."""

    def __init__(self, feed: DeviceFeed) -> None:
        self._feed = feed
        self._tracker = FeedTracker(Feed.EVENTS)
        self._told: OrderedDict[str, None] = OrderedDict()
        self._sequence = 0
        self.interrupted("the connector starts; what came before is not known")

    def tell(self, event: Event, refresh: int | None = None) -> bool:
        """Hand over an event unless it was told already. False: there was no room for it.

        ``refresh``: when the device was asked for its states, if this is an answer to that: told once per question.
        """
        identity = identifier(f"{event.device}/{event.event_id}" + (f"/{refresh}" if refresh is not None else ""))
        if identity in self._told:
            return True
        record = structs.replace(event, sequence=self._sequence + 1, refreshed=refresh is not None)
        self._sequence += 1
        if not self._feed.event(record, identity):
            return False
        self._told[identity] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True

    def interrupted(self, detail: str) -> None:
        """Nobody listens to the server any more: from now on its conditions are not known."""
        self._feed.event_gaps(self._tracker.disconnected(self._feed.device, now=clock.now(), detail=detail))

    def lost(self, detail: str) -> None:
        """Events are missing, and with them changes of conditions."""
        now = clock.now()
        gaps = self._tracker.overflowed(
            self._feed.device, None, event_time=now, receive_time=now, count=None, detail=detail
        )
        self._feed.event_gaps(gaps)

    def known(self, detail: str) -> None:
        """All that can be known is known again: closes what is open, with ``detail``."""
        now = clock.now()
        seen = self._tracker.arrived(self._feed.device, None, sequence=None, event_time=now, receive_time=now)
        self._feed.event_gaps([structs.replace(gap, detail=f"{gap.detail}; {detail}"[:2000]) for gap in seen.gaps])
