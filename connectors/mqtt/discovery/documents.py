"""What stands where in a document, and what can be a time. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from connectors.mqtt.config import JsonPaths, TimeFormat
from connectors.mqtt.payload import Refused, read_sample

Path = tuple[str, ...]
MOST_LEAVES = 200
"""Of a document that are looked at."""
_IDENTIFIERS = ("id", "name", "key", "tag", "n", "code", "channel")
_DEPTH = 8
_STEP = 100  # characters of a key


def walk(document: Any) -> Iterator[Path]:
    """Where the scalars stand, at most so many, so deep."""
    count = 0
    stack: list[tuple[Path, Any]] = [((), document)]
    while stack and count < MOST_LEAVES:
        path, here = stack.pop()
        below: list[tuple[str, Any]] = []
        if isinstance(here, dict):
            below = [(key, value) for key, value in here.items() if fits(key)]
        elif isinstance(here, list):
            key = identifier(here)
            steps = (f"{key}={one[key]}" if key else str(place) for place, one in enumerate(here))
            below = [(step, one) for step, one in zip(steps, here, strict=True) if fits(step)]
        elif path:
            count += 1
            yield path
        if len(path) < _DEPTH:
            stack += [((*path, step), value) for step, value in reversed(below[:MOST_LEAVES])]


def identifier(items: list[Any]) -> str | None:
    """The key by which each object of a list has a name of its own."""
    if len(items) < 2:
        return None
    for key in _IDENTIFIERS:
        texts = [one.get(key) for one in items if isinstance(one, dict)]
        if len(texts) == len(items) == len(set(map(str, texts))) and all(isinstance(text, str) for text in texts):
            return key
    return None


def fits(step: Any) -> bool:
    """Whether a key can be a step of a path."""
    return isinstance(step, str) and 0 < len(step) <= _STEP and step.isprintable()


def is_time(moments: Sequence[tuple[Any, int]], format_: TimeFormat, near: int) -> bool:
    """Whether all values are times in this format; numbers, within ``near`` of when they came (microseconds)."""
    paths = JsonPaths.model_construct(value=("value",), time=("time",), time_format=format_)
    for value, at in moments:
        try:
            time = read_sample({"value": None, "time": value}, paths).time
        except Refused:
            return False
        if time is None or (format_ is not TimeFormat.ISO8601 and abs(time - at) > near):
            return False
    return True


def is_zoneless(value: Any) -> bool:
    """Whether it is a time as text that does not say its zone."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None
    except ValueError:
        return False
