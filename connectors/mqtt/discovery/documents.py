"""What stands where in a document. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from connectors.mqtt.payload import ABSENT, find, words

Path = tuple[str, ...]
MOST_LEAVES = 200
"""Of a document that are looked at."""
_IDENTIFIERS = ("id", "name", "key", "tag", "n", "code", "channel")
_DEPTH = 8
_STEP = 100  # characters of a key


def paths_of(documents: Sequence[Any]) -> list[Path]:
    """Where the scalars of all ``documents`` stand, at most so many.

    Numbers tell the objects of a list apart where all documents have the same: what counts them could name nothing.
    """
    found = _walked(documents, numbered=True)
    if len(documents) > 1 and all(_stays(path, documents) for path in found):
        return found
    return _walked(documents, numbered=False)


def _walked(documents: Iterable[Any], *, numbered: bool) -> list[Path]:
    found = (path for document in documents for path in walk(document, numbered=numbered))
    return list(islice(dict.fromkeys(found), MOST_LEAVES))


def _stays(path: Path, documents: Iterable[Any]) -> bool:
    """Whether every number that chooses an object of a list does so in each document that has the list."""
    for at, step in enumerate(path):
        if step.partition("=")[2].lstrip("-").isdigit():
            lists = (find(document, path[:at]) for document in documents)
            if any(isinstance(one, list) and find(one, (step,)) is ABSENT for one in lists):
                return False
    return True


def walk(document: Any, *, numbered: bool = False) -> Iterator[Path]:
    """Where the scalars stand, at most so many, so deep. ``numbered``: as for :func:`identifier`."""
    count = 0
    stack: list[tuple[Path, Any]] = [((), document)]
    while stack and count < MOST_LEAVES:
        path, here = stack.pop()
        below: list[tuple[str, Any]] = []
        if isinstance(here, dict):
            below = [(key, value) for key, value in here.items() if fits(key)]
        elif isinstance(here, list):
            key = identifier(here, numbered=numbered)
            if key is None:
                below = [(str(place), one) for place, one in enumerate(here)]
            else:  # what has an empty name could be found by no path
                named = ((words(one.get(key)), one) for one in here)
                below = [(step, _without(one, key)) for name, one in named if name and fits(step := f"{key}={name}")]
        elif path:
            count += 1
            yield path
        if len(path) < _DEPTH:
            stack += [((*path, step), value) for step, value in reversed(below[:MOST_LEAVES])]


def _without(one: dict[Any, Any], key: str) -> dict[Any, Any]:
    return {name: value for name, value in one.items() if name != key}


def identifier(items: list[Any], *, numbered: bool = False) -> str | None:
    """The key by which each object of a list has a name of its own; ``numbered``: or a number of its own."""
    if len(items) < 2:
        return None
    for key in _IDENTIFIERS:
        found = [one.get(key) for one in items if isinstance(one, dict)]
        if not all(isinstance(one, str) or (numbered and _is_number(one)) for one in found):
            continue
        if len({words(one) for one in found}) == len(items):
            return key
    return None


def _is_number(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool)


def fits(step: Any) -> bool:
    """Whether a key can be a step of a path."""
    return isinstance(step, str) and 0 < len(step) <= _STEP and step.isprintable()


def plain_word(key: str) -> str:
    """A key or a topic's level without capitals and what joins its words."""
    return "".join(c for c in key.lower() if c.isalnum())
