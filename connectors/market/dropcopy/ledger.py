"""What was booked of each execution, so that a repeat is dropped and a correction knows what it corrects.

Kept beside the session's numbers, in the same transaction: an execution is in the ledger exactly when its message
counts as taken. What waits for Kafka is known here already, because a cancellation may follow at once.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import msgspec
from msgspec import structs

from connectors.market.contract.events import Bad
from connectors.market.dropcopy.reports import Kind, Report, identifier
from connectors.market.fix.store import Statement
from schemas.base import Side
from schemas.fills import Fill

_KEEP = "INSERT OR REPLACE INTO executions VALUES (?, ?, ?, ?, ?)"
_STAND = "INSERT OR REPLACE INTO trades VALUES (?, ?)"
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of a report: fills to publish in order, and what the ledger keeps once they are in Kafka."""

    fills: tuple[Fill, ...]
    beside: tuple[Statement, ...]


class Ledger:
    """Executions by trade date, ExecID and side; and the fill that stands for each trade after its corrections.

    Grows by some 500 bytes an execution. Used from one thread.
    """

    def __init__(self, database: sqlite3.Connection, name: str, venue: str) -> None:
        self._db = database
        self._name = name
        self._venue = venue
        self._known: dict[_Key, tuple[str, str]] = {}
        self._standing: dict[str, Fill | None] = {}
        database.execute(
            "CREATE TABLE IF NOT EXISTS executions "
            "(day TEXT, execution TEXT, side TEXT, root TEXT, digest TEXT, PRIMARY KEY (execution, side, day))"
        )
        database.execute("CREATE TABLE IF NOT EXISTS trades (root TEXT PRIMARY KEY, fill BLOB)")

    def forget_waiting(self) -> None:
        """Know only what the database says: all is in it, or a new connection will bring again what is not."""
        self._known.clear()
        self._standing.clear()

    def enter(self, report: Report, receive_time: int) -> Entry | None:
        """What is to be booked; None for a repeat. Raises Bad when it cannot be booked.

        A correction takes back what stands and books the corrected; a cancellation takes back what stands. To take
        back is a fill of the other side with the same quantity and price and the fee returned: quantity, cost and
        P&L together are then to the last digit what they would be had the trade never been (processors/holdings.py).
        """
        key = (report.day, report.execution, report.side.value)
        if (before := self._execution(key)) is not None:
            if before[1] != report.digest:
                raise Bad(f"execution {report.execution:.80} came before with other contents; not booked again")
            return None
        identity = identifier(self._name, *key)
        if report.kind is Kind.TRADE:
            return self._enter(key, report, identity, (self._fill(report, identity, receive_time),))
        found = self._referred(report)
        if found is None:
            raise Bad(
                f"{report.kind.name.lower()} of execution {report.reference:.80}, which this drop copy never booked; "
                "publish a fill by hand if a position holds it"
            )
        standing = self._fill_of(found)
        if standing is None:
            raise Bad(f"execution {report.reference:.80} was cancelled before")
        back = structs.replace(
            standing,
            fill_id=identifier(self._name, *key, "back"),
            side=Side.SELL if standing.side is Side.BUY else Side.BUY,
            fee=-standing.fee,
            event_time=report.event_time,
            receive_time=receive_time,
        )
        if report.kind is Kind.CANCEL:
            return self._enter(key, report, found, (back,))
        return self._enter(key, report, found, (back, self._fill(report, identity, receive_time)))

    def _enter(self, key: _Key, report: Report, root: str, fills: tuple[Fill, ...]) -> Entry:
        stands = None if report.kind is Kind.CANCEL else fills[-1]
        self._known[key] = (root, report.digest)
        self._standing[root] = stands
        blob = None if stands is None else msgspec.json.encode(stands)
        return Entry(fills, ((_KEEP, (*key, root, report.digest)), (_STAND, (root, blob))))

    def _fill(self, report: Report, identity: str, receive_time: int) -> Fill:
        return Fill(
            fill_id=identity,
            order_id=report.order,
            book=report.book,
            instrument=report.instrument,
            side=report.side,
            quantity=report.quantity,
            price=report.price,
            fee=report.fee,
            currency=report.currency,
            venue=self._venue,
            event_time=report.event_time,
            receive_time=receive_time,
        )

    def _execution(self, key: _Key) -> tuple[str, str] | None:
        """Root and digest of an execution."""
        if found := self._known.get(key):
            return found
        query = "SELECT root, digest FROM executions WHERE day = ? AND execution = ? AND side = ?"
        row = self._db.execute(query, key).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def _referred(self, report: Report) -> str | None:
        """The trade that a correction or cancellation means: of the newest day up to its own."""
        days = [
            (day, root)
            for (day, execution, side), (root, _) in self._known.items()
            if execution == report.reference and side == report.side.value and day <= report.day
        ]
        query = (
            "SELECT day, root FROM executions WHERE execution = ? AND side = ? AND day <= ? ORDER BY day DESC LIMIT 1"
        )
        row = self._db.execute(query, (report.reference, report.side.value, report.day)).fetchone()
        days += [] if row is None else [(str(row[0]), str(row[1]))]
        return max(days)[1] if days else None

    def _fill_of(self, root: str) -> Fill | None:
        if root in self._standing:
            return self._standing[root]
        row = self._db.execute("SELECT fill FROM trades WHERE root = ?", (root,)).fetchone()
        return None if row is None or row[0] is None else msgspec.json.decode(row[0], type=Fill)
