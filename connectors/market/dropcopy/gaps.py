"""The open gaps of a drop copy, in the session's store: a gap that outlives the process is closed by the next one."""

from __future__ import annotations

import sqlite3
from collections import deque

import msgspec
import structlog

from connectors.outlet import Done
from schemas.gaps import Gap

log = structlog.get_logger(__name__)


class KeptGaps:
    """Kept when they open, forgotten once Kafka has their closing. Used from one thread, but for what `closing` gives.

    A store that cannot be written costs nothing but the closing after a restart, so that it is said and no more.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._closed: deque[str] = deque()
        database.execute("CREATE TABLE IF NOT EXISTS gaps (gap_id TEXT PRIMARY KEY, gap BLOB)")

    def left(self) -> list[Gap]:
        """What an earlier process has left open, oldest first."""
        rows = self._db.execute("SELECT gap FROM gaps").fetchall()
        return sorted((msgspec.json.decode(row[0], type=Gap) for row in rows), key=lambda gap: gap.receive_time)

    def keep(self, gap: Gap) -> None:
        """It is open; call before Kafka gets it."""
        self._run("INSERT OR REPLACE INTO gaps VALUES (?, ?)", (gap.gap_id, msgspec.json.encode(gap)))

    def closing(self, gap: Gap) -> Done:
        """To be called with the outcome of the closing record, from any thread."""

        def done(error: str | None) -> None:
            if error is None:
                self._closed.append(gap.gap_id)

        return done

    def forget(self) -> None:
        """Those whose closing Kafka has taken by now."""
        while self._closed:
            self._run("DELETE FROM gaps WHERE gap_id = ?", (self._closed.popleft(),))

    def _run(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            log.warning("an open gap of a drop copy cannot be kept for the next start", gap=values[0], why=str(error))
