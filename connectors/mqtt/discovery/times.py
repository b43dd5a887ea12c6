"""What can be a time in documents, and which of them is the time of the values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from connectors.mqtt.config import JsonPaths, TimeFormat
from connectors.mqtt.discovery.documents import Path, plain_word
from connectors.mqtt.payload import Refused, read_sample

_NAMES = frozenset({"t", "ts", "tst", "dt", "at", "time", "timestamp", "datetime", "date", "eventtime", "createdat"})
_NEAR = 2 * 86_400_000_000
_DECADE = 10 * 366 * 86_400_000_000


class Time(NamedTuple):
    """A time in every document. ``named``: its key says so, too."""

    path: Path
    format: TimeFormat
    named: bool

    def rank(self) -> tuple[bool, int]:
        """The likelier it is that of a whole document, the lower."""
        return not self.named, len(self.path)


def says_time(key: str) -> bool:
    """Whether a key is called as times are."""
    return plain_word(key) in _NAMES


def time_at(path: Path, moments: Sequence[tuple[Any, int]]) -> Time | None:
    """What stands at ``path``, if it is a time in one format in all documents. ``moments``: what stands there, and when
    that came, microseconds. A number whose key says nothing must be near to that."""
    named = says_time(path[-1])
    formats = (one for one in TimeFormat if _all_times(moments, one, _DECADE if named else _NEAR))
    return next((Time(path, one, named) for one in formats), None)


def _all_times(moments: Sequence[tuple[Any, int]], format_: TimeFormat, near: int) -> bool:
    paths = JsonPaths.model_construct(value=("value",), time=("time",), time_format=format_)
    for value, at in moments:
        try:
            time = read_sample({"value": None, "time": value}, paths).time
        except Refused:
            return False
        if time is None or (format_ is not TimeFormat.ISO8601 and abs(time - at) > near):
            return False
    return True


def zoneless(path: Path, values: Sequence[Any]) -> bool:
    """Whether times stand there as texts that do not say their zone."""
    return says_time(path[-1]) and all(map(_is_zoneless, values))


def _is_zoneless(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False


def time_of(
    values: Sequence[Path], times: Sequence[Time], at: Callable[[Path], list[Any]]
) -> tuple[Time | None, tuple[str, ...]]:
    """The one time of all ``values``, if there is one, and what a person must know. ``at``: what stands at a path.

    What only looks like a time is that of what stands beside or below it: that of a part would date the rest.
    """
    fit = [one for one in times if one.named or all(path[: len(one.path) - 1] == one.path[:-1] for path in values)]
    if not fit:
        return None, ()
    first, *others = sorted(fit, key=Time.rank)
    for other in others:
        apart = other.rank() == first.rank() and other.path[:-1] != first.path[:-1]
        if apart and at(other.path) != at(first.path):
            both = f"{'.'.join(first.path)} and {'.'.join(other.path)}"
            return None, (f"{both} are the times of parts of a document, and json.time would be that of all of it",)
    return first, ()
