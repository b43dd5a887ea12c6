"""From where to where: commit numbers or times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from streams.replay.rerun import Entry


@dataclass(frozen=True)
class Mark:
    """A commit number, or a time in microseconds; a time means the first commit at or after it."""

    commit: int | None = None
    time: int | None = None

    @classmethod
    def parse(cls, text: str) -> Mark:
        """``412``, or a time as ISO 8601 has it; without zone it is UTC. Raises ValueError saying what is allowed."""
        if text.isdecimal():
            return cls(commit=int(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a commit number nor a time such as 2026-11-21T07:00:00Z or 2026-11-21"
            ) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return cls(time=round(moment.timestamp() * 1_000_000))

    def position(self, entry: Entry) -> int:
        """Below 0 when ``entry`` comes before the mark, above when after, 0 when at it."""
        if self.commit is not None:
            return entry.record.commit - self.commit
        return entry.time - (self.time or 0)


@dataclass(frozen=True)
class Span:
    """Both ends included; None is open: as far back as the inputs are kept, and up to now."""

    begin: Mark | None = None
    end: Mark | None = None

    @property
    def since(self) -> int:
        """A time before which nothing of the span lies; 0 when that is not known."""
        return (self.begin.time or 0) if self.begin is not None else 0

    def begun(self, entry: Entry) -> bool:
        """Whether the commit is at or after the begin."""
        return self.begin is None or self.begin.position(entry) >= 0

    def over(self, entry: Entry) -> bool:
        """Whether the commit is after the end."""
        return self.end is not None and self.end.position(entry) > 0
