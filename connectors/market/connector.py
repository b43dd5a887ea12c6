"""Market replay: synthetic ticks around real daily closes, sent as if they came from an exchange today."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import cycle, islice

import structlog

from connectors import clock, metrics
from connectors.feed import FeedTracker, event_id
from connectors.market.config import MarketConfig
from connectors.market.desk import DUPLICATES
from connectors.market.pace import Pace
from connectors.market.source import Sent, Source, sources
from connectors.metrics import State
from connectors.outlet import Full, Outlet
from schemas import topics
from schemas.gaps import Feed, Gap
from schemas.ticks import Tick
from schemas.topics import R, Topic

log = structlog.get_logger(__name__)

_WATCH_EVERY = 0.2


class MarketConnector:
    """Replays closes on today's clock: ``event_time`` is when the replay sends a tick, ``venue`` begins with REPLAY.

    Each run is a session of its own, named by its start in microseconds: sequence numbers begin at 1 again, and the id
    of a tick is ``VENUE/INSTRUMENT/SESSION/SEQUENCE``. Across sessions only event times tell which tick is newer.

    A tick that comes late (overtaken by the next) is published, so that nothing is lost, with its own older event
    time. A tick that comes twice is dropped and counted. A gap is published before the tick that shows it. When the
    replay ends or is stopped, each instrument has a gap until the next session.

    ``now``: microseconds, for the records; ``steady``: seconds, for the rhythm.
    """

    name = "market"

    def __init__(
        self,
        config: MarketConfig,
        publisher: Outlet,
        *,
        now: Callable[[], int] = clock.now,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._publisher = publisher
        self._now = now
        self._steady = steady
        self._session = now()
        self._tracker = FeedTracker(Feed.TICKS)

    def run(self, stop: threading.Event) -> None:
        """Replay until ``stop`` is set or the replay ends. Raises PricesError when a price file cannot be used now."""
        self._session = self._now()
        self._tracker = FeedTracker(Feed.TICKS)
        feeds = sources(self._config, self._session)
        for feed in feeds:
            self._tracker.watch(feed.instrument, None, silence=self._config.silence_after, now=self._session)
            metrics.set_state(self.name, feed.instrument, State.LIVE)
        log.info(
            "replaying synthetic ticks around real daily closes",
            instruments=[feed.instrument for feed in feeds],
            ticks_per_second_each=self._config.pace or "max",
            session=self._session,
        )
        try:
            self._replay(feeds, stop)
        finally:
            self._leave(feeds, "the replay was stopped" if stop.is_set() else "the replay has ended")

    def _replay(self, feeds: list[Source], stop: threading.Event) -> None:
        pace = self._config.pace
        rhythm = Pace(None if pace is None else pace * len(feeds), self._steady())
        left = self._config.max_ticks
        turns = cycle(feeds)
        watched = self._steady()
        while not stop.is_set() and left != 0:
            now = self._steady()
            if now - watched >= _WATCH_EVERY:
                watched = now
                self._watch(feeds, stop)
            if wait := rhythm.wait(now):
                stop.wait(min(wait, _WATCH_EVERY))
                continue
            due = rhythm.take(now)
            count = due if left is None else min(due, left)
            for feed in islice(turns, count):
                try:
                    arrived = feed.next(self._now())
                except StopIteration:
                    # Recordings end on one day, give or take; the replay ends with the first of them.
                    left = 0
                    break
                self._receive(feed, arrived, stop)
            else:
                left = None if left is None else left - count
        for feed in feeds:
            self._receive(feed, feed.end(), stop)

    def _receive(self, feed: Source, arrived: list[Sent], stop: threading.Event) -> None:
        """What the client of an exchange does: check the sequence, say what is missing, publish."""
        instrument, venue = feed.instrument, feed.venue
        for sequence, event_time, quote in arrived:
            feed.received += 1
            receive_time = max(self._now(), event_time)
            seen = self._tracker.arrived(
                instrument, None, sequence=sequence, event_time=event_time, receive_time=receive_time
            )
            if seen.gaps:
                self._say(seen.gaps, stop)
            if seen.duplicate:
                DUPLICATES.labels(instrument).inc()
                continue
            tick = Tick(
                instrument=instrument,
                venue=venue,
                bid=quote.bid,
                ask=quote.ask,
                last=quote.last,
                size=quote.size,
                sequence=sequence,
                event_time=event_time,
                receive_time=receive_time,
            )
            self._publish(topics.ticks, instrument, tick, f"{venue}/{instrument}/{self._session}/{sequence}", stop)

    def _watch(self, feeds: list[Source], stop: threading.Event) -> None:
        silent = self._tracker.silent(self._now())
        for gap in silent:
            metrics.set_state(self.name, gap.key, State.STALE)
            log.warning("an instrument is silent", instrument=gap.key, detail=gap.detail)
        self._say(silent, stop)
        for feed in feeds:
            if feed.received:
                metrics.RECORDS.labels(self.name, feed.instrument).inc(feed.received)
                feed.received = 0
                metrics.set_state(self.name, feed.instrument, State.LIVE)

    def _leave(self, feeds: list[Source], why: str) -> None:
        stopped = threading.Event()
        stopped.set()  # one attempt: there is no time to wait for room
        for feed in feeds:
            self._say(self._tracker.disconnected(feed.instrument, now=self._now(), detail=why), stopped)
            metrics.RECORDS.labels(self.name, feed.instrument).inc(feed.received)
            metrics.set_state(self.name, feed.instrument, State.DOWN)
        log.info(why, ticks=sum(feed.made for feed in feeds), session=self._session)

    def _say(self, gaps: list[Gap], stop: threading.Event) -> None:
        for gap in gaps:
            self._publish(topics.gaps, gap.key, gap, event_id(gap), stop)

    def _publish(self, topic: Topic[R], key: str, record: R, identity: str, stop: threading.Event) -> None:
        """Publish; while Kafka does not keep up, the replay waits, as an exchange would not."""
        while True:
            try:
                self._publisher.publish(topic, key, record, event_id=identity)
            except Full as full:
                if not self._publisher.wait_for_room(stop):
                    log.warning("stopped before Kafka took a record", topic=topic.name, key=key, reason=str(full))
                    return
            else:
                return
