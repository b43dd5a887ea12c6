"""What stands where in a document. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
            if key is None:
                below = [(str(place), one) for place, one in enumerate(here)]
            else:  # what has an empty name could be found by no path
                below = [(step, one) for one in here if one[key] and fits(step := f"{key}={one[key]}")]
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


def plain_word(key: str) -> str:
    """A key or a topic's level without capitals and what joins its words."""
    return "".join(c for c in key.lower() if c.isalnum())
