"""Recorded ticks into Kafka: each recording in a thread of its own, at the pace of its times."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
import structlog
from msgspec import structs

from connectors import clock
from connectors.feed import FeedTracker, event_id, identifier
from connectors.lifecycle import Lifecycle
from connectors.market.common import profile
from connectors.market.contract.events import Bad
from connectors.market.desk import DUPLICATES, UNKNOWN
from connectors.market.recorded import table, text
from connectors.market.recorded.config import RecordedConfig
from connectors.market.recorded.rows import Row, Unreadable
from connectors.market.recorded.staging import Staging
from connectors.market.recorded.ticks import MOST_OTHERS, Reader, Told
from connectors.outlet import Full, Outlet
from schemas import topics
from schemas.devices import DeviceState
from schemas.gaps import Feed, Gap, GapReason
from schemas.ticks import Tick
from schemas.topics import R, Topic

log = structlog.get_logger(__name__)

ENDED = "the recording has ended"
MOST_BAD = 1000
"""Rows one after the other that are no tick; after that the rest of the file is left."""
_AHEAD = 10_000_000  # what clocks may differ
_LOOK_SECONDS = 0.2
_LOOK_ROWS = 500


class RecordedConnector:
    """All sections of ``[[recorded]]``. It ends when everything has been played, and begins anew at each start.

    A row is whole: it tells of both sides, of the last trade, or of all. What a row does not tell of is carried over
    from the rows before it, until a number is missing. With ``time = "recorded"`` a tick's id is ``NAME/FILE/ROW``, so
    that it has the same whenever it is played; otherwise each start is a session and stands in it.
    """

    name = "recorded"

    def __init__(self, config: list[RecordedConfig], outlet: Outlet) -> None:
        self._config = config
        self._outlet = outlet

    def run(self, stop: threading.Event) -> None:
        """Play until ``stop`` is set or all has been played."""
        with ThreadPoolExecutor(len(self._config), thread_name_prefix=self.name) as pool:
            playing = [pool.submit(Player(one, self._outlet, stop).play) for one in self._config]
        for one in playing:
            one.result()


class Player:
    """One recording."""

    def __init__(self, config: RecordedConfig, outlet: Outlet, stop: threading.Event) -> None:
        self._config = config
        self._outlet = outlet
        self._stop = stop
        self._session = self._last = clock.now()
        self._reader = Reader(config)
        self._staging = Staging(None if config.speed == "max" else config.speed, config.longest_pause)
        self._tracker = FeedTracker(Feed.TICKS, steady=clock.steady)
        self._newest: dict[str, Told] = {}
        self._counts = dict.fromkeys(config.played, 0)
        self._crossed: dict[str, Gap] = {}
        self._life = Lifecycle(
            RecordedConnector.name,
            profile(config.name, "file", config, config.played),
            lambda record, identity: self._publish(topics.devices, record.device, record, identity),
        )
        self._looked = 0

    def play(self) -> None:
        """All files in their order; one that cannot be read is put aside, and the next is played."""
        now = self._now()
        self._life.state(DeviceState.LIVE)
        for name in self._counts:
            self._gaps(
                self._tracker.disconnected(name, now=now, detail="the recording begins; before it nothing is known")
            )
            if self._config.silence_after is not None:
                self._tracker.watch(name, None, silence=self._config.silence_after, now=now)
        paths = self._config.paths()
        if not paths:
            self._refused(f"{', '.join(self._config.files)}", "there is no file", b"")
        for path in paths:
            self._file(path)
        if self._reader.unmet and self._reader.others and not self._stop.is_set():
            self._refused(", ".join(self._config.files), self._unmet(), b"")
        why = "the recording was stopped" if self._stop.is_set() else ENDED
        for name in self._counts:
            self._gaps(self._tracker.disconnected(name, now=self._now(), detail=why))
        self._life.state(DeviceState.DOWN, why)
        log.info(why, recording=self._config.name, ticks=sum(self._counts.values()), session=self._session)

    def _unmet(self) -> str:
        """Which of the settings' names no row has, and what the rows have instead."""
        wanted = ", ".join(repr(name) for name in self._config.instruments if name in self._reader.unmet)
        there = [f"{name!r:.60}" for name in self._reader.others]
        more = ", …" if len(there) == MOST_OTHERS else ""
        return (
            f"instruments names {wanted:.500}, which no row has; in the column {self._config.columns.instrument!r} "
            f"stand besides {', '.join(there)}{more}"
        )

    # --- rows -----------------------------------------------------------------------------------------------------

    def _file(self, path: Path) -> None:
        left_out = 0
        try:
            with closing(self._rows(path)) as rows:
                left_out = self._all(path, rows)
        except Unreadable as error:
            log.warning("a file of ticks is left", recording=self._config.name, file=str(path), reason=str(error))
            self._refused(str(path), str(error), b"")
        if left_out:
            log.info("rows of other instruments were left out", file=str(path), rows=left_out)

    def _rows(self, path: Path) -> Generator[Row]:
        columns = list(self._config.columns.named.values())
        if path.suffix == ".parquet":
            return table.rows(path, columns, self._stop)
        return text.rows(path, columns, self._config.delimiter)

    def _all(self, path: Path, rows: Iterable[Row]) -> int:
        """Play them; how many were of other instruments. Raises Unreadable when they make no sense."""
        bad_rows = left_out = 0
        for place, row in enumerate(rows):
            if place % _LOOK_ROWS == 0:
                self._look()
            if self._stop.is_set():
                break
            self._life.taken()
            try:
                told = self._told(row)
            except Bad as bad:
                raw = row.raw or msgspec.json.encode(row.values, enc_hook=str)
                self._refused(f"{path}:{row.number}", str(bad), raw)
                bad_rows += 1
                if bad_rows == MOST_BAD:
                    raise Unreadable(f"the {MOST_BAD} rows to {row.number} are no ticks; the rest is left") from bad
                continue
            bad_rows = 0
            if told is None:
                left_out += 1
            else:
                self._take(path, row, told)
        return left_out

    def _told(self, row: Row) -> Told | None:
        if row.problem:
            raise Bad(row.problem)
        told = self._reader.read(row.values)
        if told is not None and self._config.time == "recorded" and told.time > clock.now() + _AHEAD:
            raise Bad(f"was recorded {(told.time - clock.now()) / 1e6:.0f} s ahead of this machine's clock")
        return told

    def _take(self, path: Path, row: Row, told: Told) -> None:
        """Wait until it is due, then tell what is missing before it, and what it says."""
        due = self._staging.due(told.time, clock.steady())
        while (left := (due - clock.steady()) / 1e6) > 0:
            if self._stop.wait(min(left, _LOOK_SECONDS)):
                return
            self._look()
        name, before = told.instrument, self._newest.get(told.instrument)
        receive_time = self._now()
        kept = self._config.time == "recorded"
        event_time = told.time if kept else self._staging.played(name, told.time, receive_time)
        late = before is not None and told.time < before.time
        seen = self._tracker.arrived(
            name, None, sequence=told.sequence, event_time=event_time, receive_time=receive_time
        )
        self._gaps(seen.gaps)
        if seen.duplicate:
            DUPLICATES.labels(name).inc()
            return
        if before is not None and not late and not any(gap.open for gap in seen.gaps):
            told = told.after(before)
        if late and told.crossed:  # says nothing of the present, and is no price of the past
            self._refused(f"{path}:{row.number}", "came late, with a bid above the ask", row.raw)
            return
        if not late:
            self._newest[name] = told
            if self._crosses(told, row, event_time, receive_time):
                return
        self._counts[name] += 1
        tick = Tick(
            instrument=name,
            venue=self._config.venue,
            bid=told.bid,
            ask=told.ask,
            last=told.last,
            size=told.size,
            sequence=self._counts[name] if told.sequence is None else told.sequence,
            event_time=event_time,
            receive_time=receive_time,
        )
        self._outlet.seen(self._config.venue, name, lambda: row.raw)
        session = "" if kept else f"{self._session}/"
        self._publish(topics.ticks, name, tick, f"{self._config.name}/{session}{path.name}/{row.number}")

    def _crosses(self, told: Told, row: Row, event_time: int, receive_time: int) -> bool:
        """Whether the bid is above the ask, which is no price; a gap says so until they are apart again."""
        gap = self._crossed.pop(told.instrument, None)
        if not told.crossed:
            if gap is not None:
                closed = structs.replace(
                    gap, open=False, detail="no longer crossed", event_time=event_time, receive_time=receive_time
                )
                self._gaps([closed])
            return False
        if gap is None:
            gap = Gap(
                gap_id=identifier(f"ticks/{told.instrument}//crossed/{self._config.name}/{row.number}/{event_time}"),
                feed=Feed.TICKS,
                key=told.instrument,
                reason=GapReason.CROSSED,
                open=True,
                detail=f"the bid {told.bid:g} is above the ask {told.ask:g}",
                event_time=event_time,
                receive_time=receive_time,
            )
            self._gaps([gap])
        self._crossed[told.instrument] = gap
        return True

    # --- output ---------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Silences, heartbeats; no more often than five times a second."""
        now = clock.steady()
        if now - self._looked < _LOOK_SECONDS * 1e6:
            return
        self._looked = now
        self._gaps(self._tracker.silent(self._now()))
        self._life.waits(self._outlet.waiting())
        self._life.beat()

    def _now(self) -> int:
        """Strictly rising by two, so that a gap has a time of its own before the tick that shows it."""
        self._last = max(clock.now(), self._last + 2)
        return self._last

    def _gaps(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            if gap.open:
                UNKNOWN.labels(gap.key, gap.reason.value).inc()
            self._publish(topics.gaps, gap.key, gap, event_id(gap))

    def _publish(self, topic: Topic[R], key: str, record: R, identity: str) -> None:
        """Publish; while Kafka does not keep up, the recording waits. When it is stopped there is one attempt."""
        while True:
            try:
                self._outlet.publish(topic, key, record, event_id=identity)
            except Full as full:
                if not self._outlet.wait_for_room(self._stop):
                    log.warning("stopped before Kafka took a record", topic=topic.name, key=key, reason=str(full))
                    return
            else:
                return

    def _refused(self, source: str, reason: str, raw: bytes) -> None:
        self._life.failed()
        while True:
            try:
                self._outlet.dead_letter(
                    source=f"{RecordedConnector.name}:{source}", reason=reason, raw=raw, receive_time=self._now()
                )
            except Full:
                if not self._outlet.wait_for_room(self._stop):
                    return
            else:
                return
