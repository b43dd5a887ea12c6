"""The state of a task as it was just before a commit, read from its changelog.

A changelog is compacted, so it tells the newest state for certain, and older ones only as far as compaction has not
come. How far that is can be read off: every commit writes its number first, and compaction keeps only the newest of
several. So when the number of a commit is still there *and* an older one before it, nothing that was overwritten by
this commit or a later one has been removed yet, and what stands before it is exactly the state before the commit.
"""

from __future__ import annotations

from streams.engine.state import COUNTERS
from streams.engine.task import Task
from streams.replay.errors import Gone, TooOld
from streams.replay.rerun import Entry
from streams.replay.tape import Tape

_NUMBER = f"{COUNTERS}/commits".encode()
_TOGETHER = 60_000_000
"""Microseconds within which the records of one transaction are written; numbers begin anew when state is reset."""


def state_before(changelog: Tape, task: Task, entry: Entry) -> None:
    """Put the state before ``entry``'s commit into ``task``, which must be new.

    Raises TooOld when compaction has removed some of it, Gone when it cannot be read.
    """
    wanted, seen = entry.record.commit, 0
    for message in changelog.forward(*changelog.ends()):
        key, value = message.key() or b"", message.value()
        if key == _NUMBER:
            number, time = int(value or 0), message.timestamp()[1] * 1000
            near = abs(time - entry.time) <= _TOGETHER
            if near and number == wanted and (seen or wanted == 1):
                try:
                    task.restored()
                except ValueError as error:
                    raise Gone(f"the state in {changelog.place} was written by another version: {error}") from error
                return
            late = time > entry.time + _TOGETHER or (near and number >= wanted)
            if late and (seen or number == 1):
                raise TooOld(_words(changelog, wanted, number), number, time - _TOGETHER)
            seen += 1
        try:
            task.restore(key if isinstance(key, bytes) else key.encode(), value)
        except ValueError as error:
            raise Gone(f"{changelog.place}@{message.offset()} cannot be read: {error}") from error
    raise TooOld(_words(changelog, wanted, None), None, 0)


def _words(changelog: Tape, wanted: int, earliest: int | None) -> str:
    text = f"the state before commit {wanted} is no longer in {changelog.place}, which was compacted since"
    return text if earliest is None else f"{text}; it reaches back to commit {earliest}"
