"""A session's sequence numbers on disk: they outlive the process and the power. SQLite, synchronised at each commit.

One small database per session; a drop copy keeps its executions beside the numbers, in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Statement = tuple[str, tuple[Any, ...]]
"""SQL and its values."""


class StoreError(RuntimeError):
    """The numbers cannot be read or written; the text names the file and what to do."""


class Store:
    """Numbers that come next. Used from one thread. Raises StoreError from every method."""

    def __init__(self, path: Path, owner: str) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # Exclusive: two processes with one session would put each other out and share numbers.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "busy_timeout=0"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.execute("CREATE TABLE IF NOT EXISTS numbers (owner TEXT PRIMARY KEY, next_in INT, next_out INT)")
            self._db.execute("INSERT OR IGNORE INTO numbers VALUES (?, 1, 1)", (owner,))
            owners = [row[0] for row in self._db.execute("SELECT owner FROM numbers")]
        except (OSError, sqlite3.Error) as error:
            raise StoreError(_told(path, error)) from error
        if owners != [owner]:
            self._db.close()
            raise StoreError(
                f"{path} holds the numbers of {', '.join(sorted(set(owners) - {owner}))}, not of {owner}; "
                "give each session a store of its own"
            )

    @property
    def database(self) -> sqlite3.Connection:
        """For what is kept beside the numbers."""
        return self._db

    def numbers(self) -> tuple[int, int]:
        """``next_in``, ``next_out``."""
        try:
            row = self._db.execute("SELECT next_in, next_out FROM numbers").fetchone()
        except sqlite3.Error as error:
            raise StoreError(_told(self._path, error)) from error
        return int(row[0]), int(row[1])

    def save(
        self, *, next_in: int | None = None, next_out: int | None = None, beside: Sequence[Statement] = ()
    ) -> None:
        """Keep what is given and run what is ``beside`` it, all or nothing; on disk when this returns."""
        try:
            self._db.execute("BEGIN")
            for statement, values in beside:
                self._db.execute(statement, values)
            self._db.execute(
                "UPDATE numbers SET next_in = coalesce(?, next_in), next_out = coalesce(?, next_out)",
                (next_in, next_out),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StoreError(_told(self._path, error)) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _told(path: Path, error: Exception) -> str:
    return (
        f"the session store {path} cannot be used: {error}; check that its folder is writable, that the disk is not "
        "full, and that no other process runs this session"
    )
